/** The replay of missed messages on a resumed connection. */

/** @import { Clock } from './clock.js' */

/** A replay has no pause longer than this, and within this time it covers a longer period. */
const PACE_MS = 1000;

/**
 * Estimates the age of replayed messages. A live message has no age on arrival: `created_at` is the
 * time of the process that accepted it, whose clock may differ from all others.
 */
export class Replay {
  #clock;
  #ageMaxMs;
  #openedAt;
  #lastAt;
  #checkedAt;
  /** The arrival minus the creation of a message at `#checkedAt`. */
  #lagMs = Infinity;
  #isOver = false;

  /**
   * @param {Clock} clock
   * @param {number} ageMaxMs The time since the previous connection: nothing was missed before.
   */
  constructor(clock, ageMaxMs) {
    this.#clock = clock;
    this.#ageMaxMs = ageMaxMs;
    this.#openedAt = clock.server;
    this.#lastAt = this.#checkedAt = clock.elapsed;
  }

  /**
   * Returns the age of a message that arrives now.
   * @param {number} created
   */
  findAgeMs(created) {
    this.#isOver ||= this.#isLive(created);
    if (this.#isOver) return 0;
    return Math.min(Math.max(0, this.#clock.server - created), this.#ageMaxMs);
  }

  /**
   * Returns whether the replay is over. Every criterion holds even if the clock that set
   * `created_at` differs from the server's.
   * @param {number} created
   */
  #isLive(created) {
    const now = this.#clock.elapsed;
    if (created >= this.#openedAt || now - this.#lastAt > PACE_MS) return true;
    this.#lastAt = now;
    const lagMs = now - created;
    if (this.#lagMs === Infinity) this.#lagMs = lagMs;
    else if (now - this.#checkedAt > PACE_MS) {
      // The lag of live messages is constant, that of a replay decreases.
      if (this.#lagMs - lagMs < PACE_MS / 2) return true;
      this.#lagMs = lagMs;
      this.#checkedAt = now;
    }
    return false;
  }
}
