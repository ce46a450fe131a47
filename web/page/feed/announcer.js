/**
 * Announces new messages to screen readers: a single message by its text, several messages by their
 * number. Announcements become rarer while messages keep arriving.
 */

import { formatCount } from '../ui/format.js';

/** @import { Message } from '../../mayfly.js' */

/** Messages that arrive within this time are announced together. */
const COLLECT_MS = 500;
/** The minimum interval between announcements doubles from the first to the second value. */
const INTERVAL_MIN_MS = 6000;
const INTERVAL_MAX_MS = 60_000;
const TEXT_CHARS_MAX = 200;

export class Announcer {
  #element;
  #count = 0;
  /** @type {Message | undefined} */
  #first;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #announcedAt = -Infinity;
  #intervalMs = INTERVAL_MIN_MS;

  /** @param {Element} element a live region */
  constructor(element) {
    this.#element = element;
  }

  /** @param {Message} message */
  add(message) {
    this.#count += 1;
    this.#first ??= message;
    if (this.#timer !== undefined) return;
    const silentMs = performance.now() - this.#announcedAt;
    const isBusy = silentMs < INTERVAL_MIN_MS;
    this.#intervalMs = isBusy ? Math.min(2 * this.#intervalMs, INTERVAL_MAX_MS) : INTERVAL_MIN_MS;
    const delay = Math.max(COLLECT_MS, this.#intervalMs - silentMs);
    this.#timer = setTimeout(() => this.#announce(), delay);
  }

  #announce() {
    const { username, text } = this.#first ?? {};
    this.#element.textContent =
      this.#count > 1
        ? formatCount(this.#count, 'new message')
        : `${username ?? 'Anonymous'}: ${(text ?? 'data').slice(0, TEXT_CHARS_MAX)}`;
    this.#count = 0;
    this.#first = undefined;
    this.#timer = undefined;
    this.#announcedAt = performance.now();
  }
}
