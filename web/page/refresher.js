/**
 * Reads state from a service while connected: at most one request at a time and one per interval.
 * Transient failures are retried.
 */

import { ApiError } from './api.js';

const INTERVAL_MS = 2000;
/** The delay after a failure is random, up to a limit that doubles with each failure. */
const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 30_000;

export class Refresher {
  #read;
  #isRequested = false;
  #isReading = false;
  #isCancelled = false;
  #failures = 0;
  #nextAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => Promise<void>} read */
  constructor(read) {
    this.#read = read;
  }

  /** Requests a read that starts after this call. Calls before the read starts are combined. */
  request() {
    this.#isRequested = true;
    this.#isCancelled = false;
    this.#schedule();
  }

  /** Cancels requested reads, for example because the connection is closed. */
  cancel() {
    this.#isRequested = false;
    this.#isCancelled = true;
    this.#failures = 0;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule() {
    if (!this.#isRequested || this.#isReading || this.#timer !== undefined) return;
    const delay = Math.max(0, this.#nextAt - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#run();
    }, delay);
  }

  async #run() {
    this.#isRequested = false;
    this.#isReading = true;
    this.#nextAt = performance.now() + INTERVAL_MS;
    try {
      await this.#read();
      this.#failures = 0;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.isTransient && !this.#isCancelled) this.#retry();
    } finally {
      this.#isReading = false;
      this.#schedule();
    }
  }

  #retry() {
    const limit = Math.min(RETRY_MIN_MS * 2 ** this.#failures++, RETRY_MAX_MS);
    this.#nextAt = performance.now() + limit * (0.5 + Math.random() / 2);
    this.#isRequested = true;
  }
}
