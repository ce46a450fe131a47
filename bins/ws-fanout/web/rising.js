/** The panel of what rises: the pages of one host, as they come over the connection each time they are sampled. */

import { apart, at, count, make, moment, number, painter, showError } from './ground.js';
import { here } from './visit.js';

const NAMESPACE = 'http://www.w3.org/2000/svg';
const HOST = /^[A-Za-z0-9._:-]{1,253}$/;
/** So many samples are remembered: five minutes of them. */
const SAMPLES_MAX = 60;
/** Without a sample for this long, what is shown is of the past. */
const STALE_MS = 15_000;
/** The lines of the pages: their box, and what is around them. */
const [WIDTH, HEIGHT, MARGIN] = [96, 28, 3];

const tenths = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export class Rising {
  #live;
  /** The host of the address of this page, if it names one: so it can be handed on. */
  #host = (new URL(location).searchParams.get('host') || here).toLowerCase();
  #frame;
  /** When the last samples were taken. */
  #times = [];
  /** By path, the rows of the last frame. */
  #rows = new Map();
  #body = at('rising-body');
  #cameAt = 0;
  #paint = painter(() => this.#draw());

  constructor() {
    if (!HOST.test(this.#host)) this.#host = here;
    at('rising-host').value = this.#host;
    at('rising-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#choose(at('rising-host').value.trim().toLowerCase());
    });
    at('rising-host').addEventListener('input', ({ target }) => showError(target, ''));
    setInterval(() => this.#showStale(), 1000);
    this.#clear();
  }

  /** What is to be subscribed to. */
  get hosts() {
    return [this.#host];
  }

  watch(live) {
    this.#live = live;
    live.on('rising', (frame) => this.#take(frame));
  }

  /** Watches another host over the same connection. */
  #choose(host) {
    if (!HOST.test(host)) return showError(at('rising-host'), 'A host has 1 to 253 of A-Z a-z 0-9 . - _ :');
    at('rising-host').value = host;
    if (host === this.#host) return;
    const before = this.#host;
    this.#host = host;
    const url = new URL(location);
    if (host === here) url.searchParams.delete('host');
    else url.searchParams.set('host', host);
    history.replaceState(history.state, '', url);
    this.#clear();
    // In this order, for there must be one always.
    this.#live?.subscribe({ hosts: host });
    this.#live?.unsubscribe({ hosts: before });
  }

  #clear() {
    this.#frame = undefined;
    this.#times = [];
    this.#rows.clear();
    this.#body.replaceChildren();
    at('rising-made').replaceChildren();
    at('rising-empty-host').textContent = this.#host;
    at('rising-filled').hidden = true;
    at('rising-empty').hidden = false;
    this.#showStale();
  }

  #take(frame) {
    // Who connects again is told the last one again.
    if (frame.host !== this.#host || frame.sampled_at === this.#frame?.sampled_at) return;
    this.#frame = frame;
    this.#cameAt = performance.now();
    const time = Date.parse(frame.sampled_at);
    this.#times.push(time);
    if (this.#times.length > SAMPLES_MAX) this.#times.shift();
    const rows = new Map();
    for (const page of frame.pages ?? []) {
      const row = this.#rows.get(page.path) ?? new Row(page.path);
      row.take(page, time, this.#times[0]);
      rows.set(page.path, row);
    }
    // A page that is not among those that came is let go of, with its line.
    this.#rows = rows;
    this.#paint();
  }

  #draw() {
    if (!this.#frame) return;
    const { sampled_at, compared_to, visitors, exact, pages = [] } = this.#frame;
    at('rising-visitors').textContent = exact ? number(visitors) : `about ${number(visitors)}`;
    at('rising-on').textContent = `${visitors === 1 ? 'visitor' : 'visitors'} on ${this.#host} now`;
    at('rising-made').replaceChildren('as of ', moment(Date.parse(sampled_at)));
    at('rising-hint').replaceChildren(...compare(compared_to, exact));
    at('rising-none').hidden = pages.length > 0;
    at('rising-scroll').hidden = pages.length === 0;
    at('rising-empty').hidden = true;
    at('rising-filled').hidden = false;
    const [from, to] = [this.#times[0], this.#times.at(-1)];
    for (const row of this.#rows.values()) row.show({ from, to, isCompared: Boolean(compared_to), exact });
    this.#place([...this.#rows.values()]);
    this.#showStale();
  }

  /** Brings the rows into this order. A row that is in its place is not touched. */
  #place(rows) {
    const elements = new Set(rows.map(({ element }) => element));
    for (const element of [...this.#body.children]) if (!elements.has(element)) element.remove();
    let next = this.#body.firstElementChild;
    for (const { element } of rows) {
      if (element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(element, next);
    }
  }

  /** Said once: a reader is not told every second that there is still nothing. */
  #showStale() {
    const stale = Boolean(this.#frame) && performance.now() - this.#cameAt > STALE_MS;
    if (String(stale) === at('rising').dataset.stale) return;
    at('rising').dataset.stale = stale;
    at('rising-stale').textContent = stale ? 'No sample for more than 15 seconds: these are the last visitors. Perhaps nobody is there any more.' : '';
  }
}

/** What changes are measured by. */
function compare(compared_to, exact) {
  const parts = [];
  if (compared_to) parts.push('Change since ', moment(Date.parse(compared_to)), '. ');
  parts.push('Score: how unusual that is, in standard deviations.');
  if (!exact) parts.push(' So many visitors are counted by a sample of them.');
  return parts;
}

/** A page of the host, with a line of its visitors. */
class Row {
  element;
  #path;
  #page;
  #points = [];
  #name = make('div', { className: 'page' });
  #trend;
  #line = draw('path', { class: 'line' });
  #end = draw('circle', { class: 'end', r: 2.5 });
  #visitors = make('td');
  #change = make('td');
  #score = make('td');

  constructor(path) {
    this.#path = path;
    const size = { class: 'trend', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', focusable: 'false' };
    this.#trend = draw('svg', size, this.#line, this.#end);
    const head = make('th', { scope: 'row' }, this.#name);
    const cell = make('td', { className: 'trend-cell' }, this.#trend);
    this.element = make('tr', {}, head, cell, this.#visitors, this.#change, this.#score);
  }

  /** Remembers what came; what is older than all samples that are remembered is forgotten. */
  take(page, time, oldest) {
    this.#page = page;
    this.#points.push({ time, visitors: page.visitors });
    while (this.#points[0].time < oldest) this.#points.shift();
    if (this.#points.length > SAMPLES_MAX) this.#points.shift();
  }

  show({ from, to, isCompared, exact }) {
    const { title, visitors, change, score } = this.#page;
    this.#name.title = this.#path;
    // What is called alike is told apart by its path.
    this.#name.replaceChildren(apart(title || this.#path, 'title'));
    if (title) this.#name.append(apart(this.#path, 'path'));
    this.#visitors.textContent = exact ? number(visitors) : `≈ ${number(visitors)}`;
    this.#change.replaceChildren(showChange(change, isCompared));
    this.#score.textContent = Number.isFinite(score) ? tenths.format(score).replace('-', '−') : '–';
    this.#trace(from, to);
  }

  #trace(from, to) {
    const most = Math.max(1, ...this.#points.map((point) => point.visitors));
    const x = (time) => MARGIN + (to > from ? (time - from) / (to - from) : 1) * (WIDTH - 2 * MARGIN);
    // What does not change lies within, not at the edge.
    const y = (visitors) => HEIGHT - MARGIN - (visitors / (1.25 * most)) * (HEIGHT - 2 * MARGIN);
    const places = this.#points.map(({ time, visitors }) => `${x(time).toFixed(1)} ${y(visitors).toFixed(1)}`);
    this.#line.setAttribute('d', `M${places.join('L')}`);
    const last = this.#points.at(-1);
    set(this.#end, { cx: x(last.time), cy: y(last.visitors) });
    const least = Math.min(...this.#points.map((point) => point.visitors));
    const samples = count(this.#points.length, 'sample');
    this.#trend.setAttribute('aria-label', `${samples}: between ${number(least)} and ${number(most)}, now ${number(last.visitors)}`);
  }
}

/** Not by its colour alone: an arrow and a sign say which way it goes. */
function showChange(change, isCompared) {
  if (!Number.isFinite(change)) return make('span', { className: 'change', textContent: isCompared ? 'new' : '–' });
  const [className, arrow, sign] = change > 0 ? ['up', '▲', '+'] : change < 0 ? ['down', '▼', '−'] : ['same', '', '±'];
  const mark = make('span', { className: 'arrow', textContent: arrow, ariaHidden: 'true' });
  return make('span', { className: `change ${className}` }, mark, `${sign}${number(Math.abs(change))}`);
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(NAMESPACE, tag);
  element.append(...children);
  return set(element, attributes);
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
