/** Measures elapsed time and estimates the server's time. */

/** The maximum delay of `setTimeout`. A timer with a longer delay would fire immediately. */
export const TIMER_MAX_MS = 2 ** 31 - 1;
/** The minimum detected sleep. A shorter sleep cannot be distinguished from network latency. */
const SLEEP_MIN_MS = 1000;

/** A clock that ignores adjustments to the local clock once the server's time is known. */
export class Clock {
  #sleptMs = 0;
  /** The readings of the clocks when the server's time was last received.
   * @type {{ server: number, local: number, elapsed: number } | undefined} */
  #reading;

  /** Milliseconds since a fixed point in time, including detected sleep. */
  get elapsed() {
    return performance.now() + this.#sleptMs;
  }

  /**
   * The server's time in milliseconds since the Unix epoch, or the local time until the server's
   * time is known.
   */
  get server() {
    const reading = this.#reading;
    return reading ? reading.server + this.elapsed - reading.elapsed : Date.now();
  }

  get isSynchronized() {
    return this.#reading !== undefined;
  }

  /**
   * Records the server's time and detects sleep, during which some platforms stop
   * `performance.now()`. After sleep, both the server's clock and the local clock have advanced by
   * more than `elapsed`. If only one of them has advanced by more, that clock was adjusted.
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
