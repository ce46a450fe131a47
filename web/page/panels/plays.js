/** The panel of play counts: the newest count of each video, updated live. */

import {
  byId,
  createElement,
  createTime,
  isolate,
  reorderChildren,
  throttleDraw,
} from '../ui/dom.js';
import { formatNumber, isFiniteNumber } from '../ui/format.js';

/** @import { Live, Plays } from '../../mayfly.js' */

/** The number of videos remembered; those with the fewest plays are dropped. */
const VIDEOS_MAX = 1000;
/** The number of videos shown. */
const ROWS_MAX = 100;
/** The minimum interval between two updates of the table. */
const DRAW_INTERVAL_MS = 250;
/** How long a row is highlighted after its count changed. */
const HIGHLIGHT_MS = 1500;

/** @typedef {{ id: string, count: number, changedAt: number, highlightUntil: number }} Video */
/** @typedef {'ascending' | 'descending'} Direction */
/** @typedef {{ compare: (a: Video, b: Video) => number, direction: Direction }} Column */

const collator = new Intl.Collator(undefined, { numeric: true });

/**
 * Orders videos by ID. IDs that the collation considers equal still have a fixed order.
 * @param {Video} a
 * @param {Video} b
 */
const compareIds = (a, b) =>
  collator.compare(a.id, b.id) || (a.id < b.id ? -1 : Number(a.id > b.id));

/**
 * @param {Video} a
 * @param {Video} b
 */
const compareCounts = (a, b) => a.count - b.count;

/** The columns, with their initial sort direction.
 * @type {Record<string, Column>} */
const COLUMNS = {
  video: { compare: compareIds, direction: 'ascending' },
  count: { compare: compareCounts, direction: 'descending' },
  changed: { compare: (a, b) => a.changedAt - b.changedAt, direction: 'descending' },
};

export class PlaysPanel {
  #now;
  /** @type {Map<string, Video>} */
  #videos = new Map();
  /** The rows on the page, by video ID.
   * @type {Map<string, Row>} */
  #rows = new Map();
  #hasDroppedVideos = false;
  /** @type {number | undefined} */
  #disconnectedAt;
  #column = 'count';
  #direction = COLUMNS.count.direction;
  /** @type {NodeListOf<HTMLElement>} */
  #headers = document.querySelectorAll('#plays-table [data-column]');
  #requestDraw = throttleDraw(() => this.#draw(), DRAW_INTERVAL_MS);

  /** @param {{ now: () => number }} options */
  constructor({ now }) {
    this.#now = now;
    for (const header of this.#headers) {
      const column = header.dataset.column ?? '';
      header.querySelector('button')?.addEventListener('click', () => this.#sortBy(column));
    }
  }

  /** @param {Live} live */
  watch(live) {
    live.on('plays', ({ counts = [] }) => this.#update(counts));
    live.on('state', ({ state }) => this.#onState(state));
  }

  /**
   * Shows that counts may be outdated: changes while disconnected are not sent again.
   * @param {string} state
   */
  #onState(state) {
    if (state !== 'open') {
      if (this.#videos.size > 0) this.#disconnectedAt ??= this.#now();
      return;
    }
    if (this.#disconnectedAt === undefined) return;
    byId('plays-disconnected').replaceChildren(
      'Disconnected from ',
      createTime(this.#disconnectedAt),
      ' to ',
      createTime(this.#now()),
      ': counts that have not changed since may be outdated.',
    );
    this.#disconnectedAt = undefined;
  }

  /** @param {Plays['counts']} counts */
  #update(counts) {
    const changedAt = this.#now();
    const highlightUntil = performance.now() + HIGHLIGHT_MS;
    for (const { video_id: id, count } of counts) {
      if (typeof id !== 'string' || !isFiniteNumber(count)) continue;
      if (this.#videos.get(id)?.count === count) continue;
      this.#videos.set(id, { id, count, changedAt, highlightUntil });
    }
    // A hidden page may not be drawn for hours and must not grow in the meantime.
    if (this.#videos.size > 2 * VIDEOS_MAX) this.#dropVideos();
    this.#requestDraw();
  }

  #dropVideos() {
    if (this.#videos.size <= VIDEOS_MAX) return;
    const sorted = [...this.#videos.values()].sort(compareByPopularity);
    for (const { id } of sorted.slice(VIDEOS_MAX)) this.#videos.delete(id);
    this.#hasDroppedVideos = true;
  }

  /**
   * Sorts by a column, or reverses the direction if the table is already sorted by it.
   * @param {string} column
   */
  #sortBy(column) {
    const reversed = this.#direction === 'ascending' ? 'descending' : 'ascending';
    this.#direction = column === this.#column ? reversed : COLUMNS[column].direction;
    this.#column = column;
    for (const header of this.#headers) {
      if (header.dataset.column === column) header.setAttribute('aria-sort', this.#direction);
      else header.removeAttribute('aria-sort');
    }
    byId('plays-scroll').scrollTop = 0;
    this.#draw();
  }

  /** Returns all videos in order. Equal values have a fixed order, so that rows do not jump. */
  #sortVideos() {
    const { compare } = COLUMNS[this.#column];
    const sign = this.#direction === 'ascending' ? 1 : -1;
    const videos = [...this.#videos.values()];
    return videos.sort((a, b) => sign * compare(a, b) || compareByPopularity(a, b));
  }

  #draw() {
    this.#dropVideos();
    const videos = this.#sortVideos();
    if (videos.length === 0) return;
    const max = videos.reduce((max, { count }) => Math.max(max, count), 1);
    const visible = videos.slice(0, ROWS_MAX);
    this.#drawRows(visible, max);
    byId('plays-videos').textContent = formatNumber(videos.length);
    const total = videos.reduce((total, { count }) => total + count, 0);
    byId('plays-total').textContent = formatNumber(total);
    byId('plays-more').textContent = this.#describeHidden(visible.length, videos.length);
    byId('plays-more').hidden = visible.length === videos.length;
    byId('plays-empty').hidden = true;
    byId('plays-content').hidden = false;
    // The highlight fades by CSS, but its class has to be removed.
    const now = performance.now();
    if (visible.some(({ highlightUntil }) => highlightUntil > now)) this.#requestDraw();
  }

  /**
   * @param {Video[]} videos
   * @param {number} max
   */
  #drawRows(videos, max) {
    const now = performance.now();
    const rows = new Map(
      videos.map((video) => [video.id, this.#rows.get(video.id) ?? new Row(video)]),
    );
    for (const video of videos) rows.get(video.id)?.update(video, max, now);
    this.#rows = rows;
    reorderChildren(
      byId('plays-body'),
      [...rows.values()].map(({ element }) => element),
    );
  }

  /**
   * @param {number} visible
   * @param {number} known
   */
  #describeHidden(visible, known) {
    const shown = `Showing the first ${formatNumber(visible)} of ${formatNumber(known)} videos.`;
    if (!this.#hasDroppedVideos) return shown;
    return `${shown} This page tracks only the ${formatNumber(VIDEOS_MAX)} with the most plays.`;
  }
}

/**
 * Orders videos by count, highest first, then by ID.
 * @param {Video} a
 * @param {Video} b
 */
function compareByPopularity(a, b) {
  return compareCounts(b, a) || compareIds(a, b);
}

/** A table row, with a bar for the count relative to the highest one. */
class Row {
  element;
  #header;
  #count = createElement('span');
  #changed = createElement('td');
  /** The values on the page, to write only those that differ.
   * @type {{ count?: number, second?: number, share?: number, isHighlighted?: boolean }} */
  #drawn = {};

  /** @param {Video} video */
  constructor({ id }) {
    const name = createElement('div', { className: 'video', title: id }, isolate(id));
    this.#header = createElement('th', { scope: 'row' }, name);
    const count = createElement('td', {}, this.#count);
    this.element = createElement('tr', {}, this.#header, count, this.#changed);
  }

  /**
   * @param {Video} video
   * @param {number} max
   * @param {number} now
   */
  update({ count, changedAt, highlightUntil }, max, now) {
    const share = Math.round((1000 * count) / max) / 10;
    const second = Math.floor(changedAt / 1000);
    const isHighlighted = highlightUntil > now;
    const drawn = this.#drawn;
    if (drawn.count !== count) this.#count.textContent = formatNumber(count);
    if (drawn.second !== second) this.#changed.replaceChildren(createTime(changedAt));
    if (drawn.share !== share) this.#header.style.setProperty('--share', `${share}%`);
    if (drawn.isHighlighted !== isHighlighted) {
      this.element.classList.toggle('highlighted', isHighlighted);
    }
    this.#drawn = { count, second, share, isHighlighted };
  }
}
