/** A clock that does not depend on the settings of other clocks. */

/** The longest delay of `setTimeout`; a longer one would fire immediately. */
export const TIMER_MAX_MS = 2 ** 31 - 1;
/** Shorter sleeps cannot be distinguished from the latency of the network. */
const SLEEP_MIN_MS = 1000;

/** Elapsed time, and the time of the server, independent of the local clock. */
export class Clock {
  #sleptMs = 0;
  /** The readings of all clocks when the server's time was last received.
   * @type {{ server: number, local: number, elapsed: number } | undefined} */
  #reading;

  /** Milliseconds since a fixed point in time. */
  get elapsed() {
    return performance.now() + this.#sleptMs;
  }

  /** The time of the server, or the local time until the server has sent its own. */
  get server() {
    const reading = this.#reading;
    return reading ? reading.server + this.elapsed - reading.elapsed : Date.now();
  }

  get isSynchronized() {
    return this.#reading !== undefined;
  }

  /**
   * Records the time of the server. Some platforms stop `performance.now()` while the computer
   * sleeps. Sleep shows in the clocks of both sides; a jump of only one of them is an adjustment.
   * @param {number} server
   */
  synchronize(server) {
    const local = Date.now();
    if (this.#reading) {
      const ms = Math.min(server - this.#reading.server, local - this.#reading.local);
      const sleptMs = ms - (this.elapsed - this.#reading.elapsed);
      if (sleptMs >= SLEEP_MIN_MS) this.#sleptMs += sleptMs;
    }
    this.#reading = { server, local, elapsed: this.elapsed };
  }
}
