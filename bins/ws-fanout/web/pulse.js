/** The panel of the pulse: how Mayfly is, once a second as it comes over the connection. */

import { Chart } from './chart.js';
import { at, lasting, moment, number, painter } from './ground.js';

/** So many are in the chart: five minutes. */
const POINTS_MAX = 300;
/** Without a pulse for this long, what is shown is of the past. */
const STALE_MS = 5000;

/** A part of a number says something only of a small one. */
const rate = (value) => (Number.isFinite(value) ? number(Number(value.toFixed(value < 10 ? 1 : 0))) : '–');

export class Pulse {
  #pulse;
  /** When each came, by a clock that never jumps, and what is in the chart of it. */
  #points = [];
  #chart = new Chart(at('pulse-chart'), ['latest', 'average']);
  #paint = painter(() => this.#draw());

  constructor() {
    setInterval(() => this.#tick(), 1000);
    new ResizeObserver(() => this.#paint()).observe(at('pulse-chart'));
  }

  watch(live) {
    live.on('pulse', (pulse) => this.#take(pulse));
  }

  #take(pulse) {
    // Who connects again is told the last one again.
    if (this.#pulse?.generated_at === pulse.generated_at) return;
    this.#pulse = pulse;
    const { latest, average } = pulse.consumption_ms ?? {};
    this.#points.push({ at: performance.now(), latest: known(latest), average: known(average) });
    if (this.#points.length > POINTS_MAX) this.#points.shift();
    this.#paint();
  }

  #draw() {
    if (!this.#pulse) return;
    const { generated_at, queue, rates, consumption_ms: consumption, connections } = this.#pulse;
    const figures = {
      accepted: rate(rates?.accepted),
      stored: rate(rates?.stored),
      delivered: rate(rates?.delivered),
      depth: number(queue?.depth),
      // Where nothing waits, nothing has an age.
      oldest: queue?.depth > 0 ? lasting(queue.oldest_age_ms) : '–',
      dead: number(queue?.dead_letters),
      connections: number(connections),
      latest: lasting(consumption?.latest),
      average: lasting(consumption?.average),
      p50: lasting(consumption?.p50),
      p99: lasting(consumption?.p99),
    };
    for (const [name, figure] of Object.entries(figures)) at(`pulse-${name}`).textContent = figure;
    at('pulse-dead').classList.toggle('bad', queue?.dead_letters > 0);
    const made = Date.parse(generated_at);
    at('pulse-made').replaceChildren(...(Number.isNaN(made) ? [] : ['as of ', moment(made)]));
    at('pulse-empty').hidden = true;
    at('pulse-filled').hidden = false;
    const { latest, average } = figures;
    const said = [`latest ${latest}`, `average ${average}`].map((one) => one.replace('–', 'unknown')).join(', ');
    at('pulse-chart').setAttribute('aria-label', `Consumption time over the last minutes: now ${said}.`);
    this.#chart.show(this.#points, performance.now());
    this.#showStale();
  }

  /** Without new ones, the lines move into the past all the same. */
  #tick() {
    if (this.#pulse && this.#silent() > STALE_MS) this.#paint();
  }

  #silent() {
    return performance.now() - this.#points.at(-1).at;
  }

  /** Said once: a reader is not told every second that there is still nothing. */
  #showStale() {
    const stale = this.#silent() > STALE_MS;
    if (stale === (at('pulse').dataset.stale === 'true')) return;
    at('pulse').dataset.stale = stale;
    at('pulse-stale').textContent = stale ? 'Stale: no pulse for more than 5 seconds. These are the last figures.' : '';
  }
}

const known = (value) => (Number.isFinite(value) ? Math.max(0, value) : null);
