/** The panel of system health, updated every second. */

import { Chart } from '../ui/chart.js';
import { byId, createTime, setText, throttleDraw } from '../ui/dom.js';
import { formatDuration, formatNumber, formatRate, isFiniteNumber } from '../ui/format.js';

/** @import { Live, Pulse } from '../../mayfly.js' */

/** The number of points in the chart: five minutes. */
const POINTS_MAX = 300;
/** Without a frame for this long, the figures are outdated. */
const STALE_MS = 5000;

export class PulsePanel {
  /** @type {Pulse | undefined} */
  #pulse;
  /** The points of the chart, timed by the monotonic clock of this page.
   * @type {import('../ui/chart.js').Point[]} */
  #points = [];
  #receivedAt = 0;
  #chart = new Chart(byId('pulse-chart'), ['latest', 'average']);
  #requestDraw = throttleDraw(() => this.#draw());

  constructor() {
    setInterval(() => this.#tick(), 1000);
    new ResizeObserver(([{ contentRect }]) => {
      this.#chart.resize(contentRect);
      this.#requestDraw();
    }).observe(byId('pulse-chart'));
  }

  /** @param {Live} live */
  watch(live) {
    live.on('pulse', (pulse) => this.#update(pulse));
  }

  /** @param {Pulse} pulse */
  #update(pulse) {
    // The server sends the last frame again after a reconnect.
    if (this.#pulse?.generated_at === pulse.generated_at) return;
    this.#pulse = pulse;
    this.#receivedAt = performance.now();
    const { latest, average } = pulse.consumption_ms ?? {};
    const values = { latest: toChartValue(latest), average: toChartValue(average) };
    this.#points.push({ time: this.#receivedAt, values });
    if (this.#points.length > POINTS_MAX) this.#points.shift();
    this.#requestDraw();
  }

  #draw() {
    if (!this.#pulse) return;
    const { generated_at, queue, rates, consumption_ms: consumption, connections } = this.#pulse;
    const figures = {
      accepted: formatRate(rates?.accepted),
      stored: formatRate(rates?.stored),
      delivered: formatRate(rates?.delivered),
      depth: formatNumber(queue?.depth),
      // An empty queue has no oldest entry.
      oldest: queue?.depth > 0 ? formatDuration(queue.oldest_age_ms) : '–',
      'dead-letters': formatNumber(queue?.dead_letters),
      connections: formatNumber(connections),
      latest: formatDuration(consumption?.latest),
      average: formatDuration(consumption?.average),
      p50: formatDuration(consumption?.p50),
      p99: formatDuration(consumption?.p99),
    };
    for (const [name, figure] of Object.entries(figures)) setText(byId(`pulse-${name}`), figure);
    byId('pulse-dead-letters').classList.toggle('bad', queue?.dead_letters > 0);
    const time = Date.parse(generated_at);
    byId('pulse-time').replaceChildren(...(Number.isNaN(time) ? [] : ['as of ', createTime(time)]));
    byId('pulse-empty').hidden = true;
    byId('pulse-content').hidden = false;
    const current = `latest ${figures.latest}, average ${figures.average}`.replaceAll(
      '–',
      'unknown',
    );
    const label = `Consumption time over the last few minutes. Now: ${current}.`;
    byId('pulse-chart').setAttribute('aria-label', label);
    this.#chart.draw(this.#points, performance.now());
    byId('pulse-idle').hidden = this.#points.some(({ values }) => values.latest !== null);
    this.#updateStale();
  }

  /** Moves the lines to the left even if no new points arrive. */
  #tick() {
    if (this.#pulse && this.#isStale()) this.#requestDraw();
  }

  #isStale() {
    return performance.now() - this.#receivedAt > STALE_MS;
  }

  /** Writes the notice only when it changes, so that screen readers announce it once. */
  #updateStale() {
    const isStale = this.#isStale();
    if (isStale === (byId('pulse').dataset.stale === 'true')) return;
    byId('pulse').dataset.stale = String(isStale);
    byId('pulse-stale').textContent = isStale
      ? 'Stale: no update for more than 5 seconds. These are the last known figures.'
      : '';
  }
}

/** @param {unknown} value */
const toChartValue = (value) => (isFiniteNumber(value) ? Math.max(0, value) : null);
