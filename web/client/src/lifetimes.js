/** The messages received, until each expires. */

import { TIMER_MAX_MS } from './clock.js';

/** @import { Clock } from './clock.js' */

/** The number of messages remembered, to drop duplicates and to report expiry. */
const MESSAGES_MAX = 20_000;
/** The shortest timer: messages that expire close together are reported together. */
const TIMER_MIN_MS = 50;

export class Lifetimes {
  #clock;
  #onExpired;
  /** When each message expires, by ID; null once its expiry was reported.
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
   * Adds a message that expires in `ms`.
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
   * Ends the life of a message that was taken or deleted.
   * @param {string} id
   */
  end(id) {
    if (this.#messages.has(id)) this.#messages.set(id, null);
  }

  /** Checks for expired messages soon: timers of a hidden or sleeping page are late. */
  check() {
    this.#schedule(this.#clock.elapsed);
  }

  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /**
   * Schedules a check for expired messages, unless an earlier one is scheduled.
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
