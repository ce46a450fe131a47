/** Counts events and measures their rate over the last five seconds. */

const WINDOW_MS = 5000;

export class Rate {
  total = 0;
  /** The total at each measurement within the window, oldest first.
   * @type {{ time: number, total: number }[]} */
  #samples = [];

  add() {
    this.total += 1;
  }

  /**
   * Returns the events per second since the oldest measurement within the window.
   * @param {number} time in milliseconds, by a monotonic clock
   */
  measure(time) {
    this.#samples.push({ time, total: this.total });
    while (time - this.#samples[0].time > WINDOW_MS && this.#samples.length > 2) {
      this.#samples.shift();
    }
    const [oldest] = this.#samples;
    if (time <= oldest.time) return 0;
    return (1000 * (this.total - oldest.total)) / (time - oldest.time);
  }
}
