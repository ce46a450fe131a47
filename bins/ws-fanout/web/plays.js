/** The panel of the plays: the newest count of each video, as the counts come over the connection. */

import { apart, at, make, moment, number, painter } from './ground.js';

/** So many videos are remembered; those with the fewest plays make room. */
const VIDEOS_MAX = 1000;
/** So many of them are on the page. */
const ROWS_MAX = 100;
/** Counts may come by the thousand in a second. Nobody reads faster than this. */
const PAUSE_MS = 250;
/** How long a row stays marked after its count has changed. */
const FRESH_MS = 1500;

const names = new Intl.Collator(undefined, { numeric: true });
/** Ids that a language takes for the same are different ones all the same. */
const byName = (one, other) => names.compare(one.id, other.id) || (one.id < other.id ? -1 : Number(one.id > other.id));
const byCount = (one, other) => one.count - other.count;

/** What a column is sorted by, and which way when it is chosen. */
const COLUMNS = {
  video: { compare: byName, first: 'ascending' },
  count: { compare: byCount, first: 'descending' },
  changed: { compare: (one, other) => one.changed - other.changed, first: 'descending' },
};

export class Plays {
  #now;
  /** By id: the count, when it changed, and until when that is marked. */
  #videos = new Map();
  /** By id, the rows on the page. */
  #rows = new Map();
  #letGo = false;
  /** Since when nothing comes. */
  #cutAt;
  #column = 'count';
  #direction = COLUMNS.count.first;
  #body = at('plays-body');
  #heads = document.querySelectorAll('#plays-table [data-column]');
  #paint = painter(() => this.#draw(), PAUSE_MS);

  constructor({ now }) {
    this.#now = now;
    for (const head of this.#heads) {
      head.querySelector('button').addEventListener('click', () => this.#sort(head.dataset.column));
    }
  }

  watch(live) {
    live.on('plays', ({ counts = [] }) => this.#take(counts));
    live.on('state', ({ state }) => this.#noticeCut(state));
  }

  /** Counts are not sent again: what changed during a cut is known when it changes the next time. */
  #noticeCut(state) {
    if (state !== 'open') {
      if (this.#videos.size > 0) this.#cutAt ??= this.#now();
      return;
    }
    if (this.#cutAt === undefined) return;
    const [from, to] = [moment(this.#cutAt), moment(this.#now())];
    at('plays-cut').replaceChildren('Not connected from ', from, ' to ', to, ': a count that has not changed since may be old.');
    this.#cutAt = undefined;
  }

  /** Remembers what came. It is drawn later, together with whatever comes until then. */
  #take(counts) {
    const [changed, freshUntil] = [this.#now(), performance.now() + FRESH_MS];
    for (const { video_id: id, count } of counts) {
      if (typeof id !== 'string' || !Number.isFinite(count)) continue;
      if (this.#videos.get(id)?.count === count) continue;
      this.#videos.set(id, { id, count, changed, freshUntil });
    }
    // A hidden page is not drawn for hours, and must not grow meanwhile.
    if (this.#videos.size > 2 * VIDEOS_MAX) this.#makeRoom();
    this.#paint();
  }

  #makeRoom() {
    if (this.#videos.size <= VIDEOS_MAX) return;
    const sorted = [...this.#videos.values()].sort((one, other) => byCount(other, one) || byName(one, other));
    for (const { id } of sorted.slice(VIDEOS_MAX)) this.#videos.delete(id);
    this.#letGo = true;
  }

  /** Sorts by a column; by the one that it is sorted by already, the other way round. */
  #sort(column) {
    const other = this.#direction === 'ascending' ? 'descending' : 'ascending';
    this.#direction = column === this.#column ? other : COLUMNS[column].first;
    this.#column = column;
    for (const head of this.#heads) {
      if (head.dataset.column === column) head.setAttribute('aria-sort', this.#direction);
      else head.removeAttribute('aria-sort');
    }
    at('plays-scroll').scrollTop = 0;
    this.#draw();
  }

  /** All videos in order. What is equal by its column is in an order of its own, so that nothing jumps about. */
  #order() {
    const { compare } = COLUMNS[this.#column];
    const sign = this.#direction === 'ascending' ? 1 : -1;
    const videos = [...this.#videos.values()];
    return videos.sort((one, other) => sign * compare(one, other) || byCount(other, one) || byName(one, other));
  }

  #draw() {
    this.#makeRoom();
    const videos = this.#order();
    if (videos.length === 0) return;
    const most = videos.reduce((most, { count }) => Math.max(most, count), 1);
    const shown = videos.slice(0, ROWS_MAX);
    this.#place(shown, most);
    at('plays-videos').textContent = number(videos.length);
    at('plays-total').textContent = number(videos.reduce((total, { count }) => total + count, 0));
    at('plays-more').textContent = this.#more(shown.length, videos.length);
    at('plays-more').hidden = shown.length === videos.length;
    at('plays-empty').hidden = true;
    at('plays-filled').hidden = false;
    // A mark fades by itself, but has to be taken away.
    const now = performance.now();
    if (shown.some(({ freshUntil }) => freshUntil > now)) this.#paint();
  }

  /** Brings the rows into this order. A row that is in its place is not touched. */
  #place(videos, most) {
    const ids = new Set(videos.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
    }
    const now = performance.now();
    let next = this.#body.firstElementChild;
    for (const video of videos) {
      const row = this.#rows.get(video.id) ?? new Row(video);
      this.#rows.set(video.id, row);
      row.show(video, most, now);
      if (row.element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(row.element, next);
    }
  }

  #more(shown, known) {
    const first = `The first ${number(shown)} of these ${number(known)} videos are shown.`;
    return this.#letGo ? `${first} Only the ${number(VIDEOS_MAX)} with the most plays are remembered.` : first;
  }
}

/** A video on the page, with a bar as long as its part of the most. */
class Row {
  element;
  #head;
  #count = make('span');
  #changed = make('td');
  /** What is shown, to write only what is different. */
  #shown = {};

  constructor({ id }) {
    this.#head = make('th', { scope: 'row' }, make('div', { className: 'video', title: id }, apart(id)));
    this.element = make('tr', {}, this.#head, make('td', {}, this.#count), this.#changed);
  }

  show({ count, changed, freshUntil }, most, now) {
    const part = Math.round((1000 * count) / most) / 10;
    const second = Math.floor(changed / 1000);
    const fresh = freshUntil > now;
    const shown = this.#shown;
    if (shown.count !== count) this.#count.textContent = number(count);
    if (shown.second !== second) this.#changed.replaceChildren(moment(changed));
    if (shown.part !== part) this.#head.style.setProperty('--part', `${part}%`);
    if (shown.fresh !== fresh) this.element.classList.toggle('fresh', fresh);
    this.#shown = { count, second, part, fresh };
  }
}
