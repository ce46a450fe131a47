/** The panel of trending pages: the pages of one host, updated with each sample. */

import { pageHost } from '../heartbeat.js';
import {
  byId,
  createElement,
  createSvg,
  createTime,
  inputById,
  isolate,
  reorderChildren,
  setAttributes,
  throttleDraw,
} from '../ui/dom.js';
import { describeFieldError, showFieldError } from '../ui/field.js';
import { formatCount, formatNumber, isFiniteNumber } from '../ui/format.js';

/** @import { Live, Rising, RisingPage, SubscribeError } from '../../mayfly.js' */

const HOST = /^[A-Za-z0-9._:-]{1,253}$/;
const HOST_RULE = 'must be 1 to 253 characters of A-Z a-z 0-9 . - _ :';
/** The number of samples remembered: five minutes. */
const SAMPLES_MAX = 60;
/** Without a frame for this long, the figures are outdated. */
const STALE_MS = 15_000;
/** The size of the sparklines and the space around the line. */
const [WIDTH, HEIGHT, MARGIN] = [96, 28, 3];

const scoreFormat = new Intl.NumberFormat(undefined, {
  minimumFractionDigits: 1,
  maximumFractionDigits: 1,
});

export class RisingPanel {
  /** @type {Live | undefined} */
  #live;
  /** The host in the URL of this page, if any, so that the URL can be shared. */
  #host = (new URL(location.href).searchParams.get('host') || pageHost).toLowerCase();
  /** @type {Rising | undefined} */
  #frame;
  /** The times of the last samples.
   * @type {number[]} */
  #times = [];
  /** The rows of the last frame, by path.
   * @type {Map<string, Row>} */
  #rows = new Map();
  #receivedAt = 0;
  #input = inputById('rising-host');
  #requestDraw = throttleDraw(() => this.#draw());

  constructor() {
    if (!HOST.test(this.#host)) this.#host = pageHost;
    this.#input.value = this.#host;
    this.#input.addEventListener('input', () => showFieldError(this.#input, ''));
    byId('rising-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#selectHost(this.#input.value.trim().toLowerCase());
    });
    setInterval(() => this.#updateStale(), 1000);
    this.#clear();
  }

  /** The hosts to subscribe to. */
  get hosts() {
    return [this.#host];
  }

  /** @param {Live} live */
  watch(live) {
    this.#live = live;
    live.on('rising', (frame) => this.#update(frame));
  }

  /**
   * Switches to another host on the same connection.
   * @param {string} host
   */
  #selectHost(host) {
    if (!HOST.test(host)) {
      showFieldError(this.#input, describeFieldError('Host', HOST_RULE));
      this.#input.focus();
      return;
    }
    this.#input.value = host;
    if (host === this.#host) return;
    const previous = this.#host;
    this.#host = host;
    const url = new URL(location.href);
    if (host === pageHost) url.searchParams.delete('host');
    else url.searchParams.set('host', host);
    history.replaceState(history.state, '', url);
    this.#clear();
    // The new host is added first, because the feed requires at least one host.
    this.#live?.subscribe({ hosts: host }).catch((error) => this.#showRejected(error));
    this.#live?.unsubscribe({ hosts: previous }).catch(() => {});
  }

  /** @param {SubscribeError} error */
  #showRejected({ code, message }) {
    // The next connection subscribes to the host.
    if (code === 'closed') return;
    const reason = message.replace(/^mayfly: /, '');
    showFieldError(this.#input, describeFieldError('The host was rejected:', reason));
  }

  #clear() {
    this.#frame = undefined;
    this.#times = [];
    this.#rows.clear();
    byId('rising-body').replaceChildren();
    byId('rising-time').replaceChildren();
    byId('rising-empty-host').textContent = `No visitors on ${this.#host} yet.`;
    byId('rising-content').hidden = true;
    byId('rising-empty').hidden = false;
    this.#updateStale();
  }

  /** @param {Rising} frame */
  #update(frame) {
    // The server sends the last frame again after a reconnect.
    if (frame.host !== this.#host || frame.sampled_at === this.#frame?.sampled_at) return;
    this.#frame = frame;
    this.#receivedAt = performance.now();
    const time = Date.parse(frame.sampled_at);
    this.#times.push(time);
    if (this.#times.length > SAMPLES_MAX) this.#times.shift();
    // Pages that are not in this frame are dropped with their samples.
    const rows = new Map();
    for (const page of frame.pages ?? []) {
      const row = this.#rows.get(page.path) ?? new Row(page);
      row.addSample(page, time, this.#times[0]);
      rows.set(page.path, row);
    }
    this.#rows = rows;
    this.#requestDraw();
  }

  #draw() {
    if (!this.#frame) return;
    const { sampled_at, compared_to, visitors, exact, pages = [] } = this.#frame;
    const count = formatNumber(visitors);
    byId('rising-visitors').textContent = exact ? count : `about ${count}`;
    const noun = visitors === 1 ? 'visitor' : 'visitors';
    byId('rising-summary').textContent = `${noun} on ${this.#host} now`;
    byId('rising-time').replaceChildren('as of ', createTime(Date.parse(sampled_at)));
    byId('rising-hint').replaceChildren(...createHint(compared_to, exact));
    byId('rising-none').hidden = pages.length > 0;
    byId('rising-scroll').hidden = pages.length === 0;
    byId('rising-empty').hidden = true;
    byId('rising-content').hidden = false;
    const rows = [...this.#rows.values()];
    const [from, to] = [this.#times[0], this.#times[this.#times.length - 1]];
    for (const row of rows) row.draw({ from, to, isCompared: Boolean(compared_to), exact });
    reorderChildren(
      byId('rising-body'),
      rows.map(({ element }) => element),
    );
    this.#updateStale();
  }

  /** Writes the notice only when it changes, so that screen readers announce it once. */
  #updateStale() {
    const isStale = Boolean(this.#frame) && performance.now() - this.#receivedAt > STALE_MS;
    if (String(isStale) === byId('rising').dataset.stale) return;
    byId('rising').dataset.stale = String(isStale);
    byId('rising-stale').textContent = isStale
      ? 'No sample for more than 15 seconds. These are the last known figures.'
      : '';
  }
}

/**
 * Explains the figures of a frame.
 * @param {string | null} comparedTo
 * @param {boolean} exact
 */
function createHint(comparedTo, exact) {
  const parts = [];
  if (comparedTo) parts.push('Change since ', createTime(comparedTo), '. ');
  parts.push('Score: deviation from the usual number of visitors, in standard deviations.');
  if (!exact) parts.push(' Visitors are estimated from a sample.');
  return parts;
}

/** A table row: a page with a sparkline of its visitors. */
class Row {
  element;
  #page;
  /** @type {{ time: number, visitors: number }[]} */
  #samples = [];
  #name = createElement('div', { className: 'page' });
  #line = createSvg('path', { class: 'line' });
  #marker = createSvg('circle', { class: 'marker', r: 2.5 });
  #sparkline;
  #visitors = createElement('td');
  #change = createElement('td');
  #score = createElement('td');

  /** @param {RisingPage} page */
  constructor(page) {
    this.#page = page;
    const viewBox = `0 0 ${WIDTH} ${HEIGHT}`;
    const attributes = { class: 'sparkline', viewBox, role: 'img', focusable: 'false' };
    this.#sparkline = createSvg('svg', attributes, this.#line, this.#marker);
    this.element = createElement(
      'tr',
      {},
      createElement('th', { scope: 'row' }, this.#name),
      createElement('td', { className: 'sparkline-cell' }, this.#sparkline),
      this.#visitors,
      this.#change,
      this.#score,
    );
  }

  /**
   * Adds a sample and drops samples older than `oldest`.
   * @param {RisingPage} page
   * @param {number} time
   * @param {number} oldest
   */
  addSample(page, time, oldest) {
    this.#page = page;
    this.#samples.push({ time, visitors: page.visitors });
    while (this.#samples[0].time < oldest) this.#samples.shift();
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  /** @param {{ from: number, to: number, isCompared: boolean, exact: boolean }} options */
  draw({ from, to, isCompared, exact }) {
    const { path, title, visitors, change, score } = this.#page;
    this.#name.title = path;
    // Pages may share a title, so the path is always shown.
    this.#name.replaceChildren(isolate(title || path, 'title'));
    if (title) this.#name.append(isolate(path, 'path'));
    this.#visitors.textContent = exact ? formatNumber(visitors) : `≈ ${formatNumber(visitors)}`;
    this.#change.replaceChildren(createChange(change, isCompared));
    this.#score.textContent = isFiniteNumber(score)
      ? scoreFormat.format(score).replace('-', '−')
      : '–';
    this.#drawSparkline(from, to);
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  #drawSparkline(from, to) {
    const values = this.#samples.map(({ visitors }) => visitors);
    const [min, max] = [Math.min(...values), Math.max(1, ...values)];
    /** @param {number} time */
    const x = (time) =>
      MARGIN + (to > from ? (time - from) / (to - from) : 1) * (WIDTH - 2 * MARGIN);
    // The headroom keeps a constant line away from the edge.
    /** @param {number} visitors */
    const y = (visitors) => HEIGHT - MARGIN - (visitors / (1.25 * max)) * (HEIGHT - 2 * MARGIN);
    const points = this.#samples.map(
      ({ time, visitors }) => `${x(time).toFixed(1)} ${y(visitors).toFixed(1)}`,
    );
    this.#line.setAttribute('d', `M${points.join('L')}`);
    const last = this.#samples[this.#samples.length - 1];
    setAttributes(this.#marker, { cx: x(last.time), cy: y(last.visitors) });
    const samples = formatCount(values.length, 'sample');
    const range = `between ${formatNumber(min)} and ${formatNumber(max)}`;
    const now = formatNumber(last.visitors);
    this.#sparkline.setAttribute('aria-label', `${samples}: ${range}, now ${now}`);
  }
}

/**
 * Creates a change with an arrow and a sign, so that it is readable without its color.
 * @param {number | null} change
 * @param {boolean} isCompared
 */
function createChange(change, isCompared) {
  if (!isFiniteNumber(change)) {
    const textContent = isCompared ? 'new' : '–';
    return createElement('span', { className: 'change', textContent });
  }
  const [className, textContent, sign] =
    change > 0 ? ['up', '▲', '+'] : change < 0 ? ['down', '▼', '−'] : ['same', '', '±'];
  const arrow = createElement('span', { className: 'arrow', textContent, ariaHidden: 'true' });
  const number = `${sign}${formatNumber(Math.abs(change))}`;
  return createElement('span', { className: `change ${className}` }, arrow, number);
}
