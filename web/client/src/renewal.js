/** Schedules the renewal of the token of an open connection. */

import { TIMER_MAX_MS } from './clock.js';

/**
 * A renewal starts at most this long before the expiry, and at least half as long. The exact time
 * is random, so that clients that connected at the same time do not request tokens at the same
 * time.
 */
const LEAD_MAX_MS = 60_000;
/** The minimum delay before a renewal, even if the previous token expires earlier. */
const DELAY_MIN_MS = 1000;
/** The delay before a renewal is repeated, unless the server has accepted a new token. */
const REPEAT_MS = 10_000;

export class Renewal {
  #renew;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** When the next renewal is due by the local clock, which continues during sleep. */
  #dueAt = Infinity;

  /** @param {() => void} renew Requests a new token and sends it. */
  constructor(renew) {
    this.#renew = renew;
  }

  /**
   * Schedules the renewal of a token that expires in `ms` milliseconds. The renewal is repeated
   * until `schedule` or `stop` is called.
   * @param {number} ms
   */
  schedule(ms) {
    const leadMs = Math.min(LEAD_MAX_MS, ms / 2) * (1 - Math.random() / 2);
    this.#wait(Math.max(DELAY_MIN_MS, ms - leadMs));
  }

  /** Starts the renewal if it is due, because timers fire late after sleep. */
  check() {
    if (Date.now() >= this.#dueAt) this.#start();
  }

  stop() {
    this.#dueAt = Infinity;
    clearTimeout(this.#timer);
  }

  #start() {
    this.#wait(REPEAT_MS);
    this.#renew();
  }

  /** @param {number} ms */
  #wait(ms) {
    this.#dueAt = Date.now() + ms;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#start(), Math.min(ms, TIMER_MAX_MS));
  }
}
