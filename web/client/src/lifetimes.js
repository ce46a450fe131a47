/** Tracks when received messages expire. */

import { TIMER_MAX_MS } from './clock.js';

/** @import { Clock } from './clock.js' */

/** The maximum number of messages that are tracked to discard duplicates and to report expiry. */
const MESSAGES_MAX = 20_000;
/** The minimum delay of a timer. Messages that expire close together are reported together. */
const TIMER_MIN_MS = 50;

export class Lifetimes {
  #clock;
  #onExpired;
  /** When each message expires, by ID; null if the message has expired or was taken or deleted.
   * @type {Map<string, number | null>} */
  #messages = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #dueAt = Infinity;
  #isStopped = false;

  /**
   * @param {Clock} clock
   * @param {(ids: string[]) => void} onExpired
   */
  constructor(clock, onExpired) {
    this.#clock = clock;
    this.#onExpired = onExpired;
  }

  /** @param {string} id */
  has(id) {
    return this.#messages.has(id);
  }

  /**
   * Adds a message that expires in `ms` milliseconds.
   * @param {string} id
   * @param {number} ms
   */
  add(id, ms) {
    const expiresAt = this.#clock.elapsed + ms;
    this.#messages.set(id, expiresAt);
    if (this.#messages.size > MESSAGES_MAX) {
      const [oldest = ''] = this.#messages.keys();
      this.#messages.delete(oldest);
    }
    this.#schedule(expiresAt);
  }

  /**
   * Records that a message was taken or deleted, so that its expiry is not reported later.
   * @param {string} id
   */
  end(id) {
    if (this.#messages.has(id)) this.#messages.set(id, null);
  }

  /**
   * Schedules a prompt check for expired messages, because timers fire late after the page was
   * hidden or the computer slept.
   */
  check() {
    this.#schedule(this.#clock.elapsed);
  }

  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /**
   * Schedules a check for expired messages, unless a check is already scheduled for this time or
   * earlier.
   * @param {number} time
   */
  #schedule(time) {
    if (time >= this.#dueAt || this.#isStopped) return;
    this.#dueAt = time;
    clearTimeout(this.#timer);
    const ms = Math.max(time - this.#clock.elapsed, TIMER_MIN_MS);
    this.#timer = setTimeout(() => this.#expire(), Math.min(ms, TIMER_MAX_MS));
  }

  #expire() {
    const now = this.#clock.elapsed;
    const ids = [];
    let next = Infinity;
    for (const [id, expiresAt] of this.#messages) {
      if (expiresAt === null) continue;
      if (expiresAt <= now) ids.push(id);
      else next = Math.min(next, expiresAt);
    }
    for (const id of ids) this.#messages.set(id, null);
    this.#dueAt = Infinity;
    this.#schedule(next);
    if (ids.length) this.#onExpired(ids);
  }
}
