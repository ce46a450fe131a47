/** The replay of missed messages on a resumed connection. */

/** @import { Clock } from './clock.js' */

/**
 * The client assumes that a replay never pauses for longer than this, and that within this time, a
 * replay delivers messages that were created over a longer period.
 */
const PACE_MS = 1000;

/**
 * An estimator for the ages of replayed messages. The age of a live message is 0 on arrival, even
 * if `created_at` is earlier, because the clock of the process that accepted the message may differ
 * from all other clocks.
 */
export class Replay {
  #clock;
  #ageMaxMs;
  #openedAt;
  #lastAt;
  #checkedAt;
  /**
   * The arrival time minus the creation time of the last message that was checked for a constant
   * lag. Only changes in this value are meaningful, because the two times have different origins.
   */
  #lagMs = Infinity;
  #isOver = false;

  /**
   * @param {Clock} clock
   * @param {number} ageMaxMs The time since the last frame of the previous connection. The client
   *   has not missed any message that is older than this.
   */
  constructor(clock, ageMaxMs) {
    this.#clock = clock;
    this.#ageMaxMs = ageMaxMs;
    this.#openedAt = clock.server;
    this.#lastAt = this.#checkedAt = clock.elapsed;
  }

  /**
   * Records the arrival of a message and returns its estimated age in milliseconds.
   * @param {number} created
   */
  findAgeMs(created) {
    this.#isOver ||= this.#isLive(created);
    if (this.#isOver) return 0;
    return Math.min(Math.max(0, this.#clock.server - created), this.#ageMaxMs);
  }

  /**
   * Records the arrival of a message and returns whether the message is live. A pause or a constant
   * lag ends the replay even if the clock that set `created_at` is behind the server's clock.
   * @param {number} created
   */
  #isLive(created) {
    const now = this.#clock.elapsed;
    if (created >= this.#openedAt || now - this.#lastAt > PACE_MS) return true;
    this.#lastAt = now;
    const lagMs = now - created;
    if (this.#lagMs === Infinity) this.#lagMs = lagMs;
    else if (now - this.#checkedAt > PACE_MS) {
      // The lag of live messages is constant. The lag of replayed messages decreases.
      if (this.#lagMs - lagMs < PACE_MS / 2) return true;
      this.#lagMs = lagMs;
      this.#checkedAt = now;
    }
    return false;
  }
}
