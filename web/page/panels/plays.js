/**
 * The panel of play counts: the newest count of each video. The panel reads the counts when the
 * live connection opens, and then updates them live. Counts only grow, so the higher of two counts
 * is the newer one.
 */

import { ApiError, request } from '../api.js';
import { Refresher } from '../refresher.js';
import {
  byId,
  createElement,
  createTime,
  isolate,
  reorderChildren,
  setText,
  throttleDraw,
} from '../ui/dom.js';
import { formatCount, formatNumber, isFiniteNumber } from '../ui/format.js';

/** @import { Live, Plays, Resumed, Snapshot } from '../../mayfly.js' */

/**
 * The maximum number of videos read and remembered. Videos with the fewest plays are dropped. The
 * API returns at most this many videos.
 */
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
  #urls;
  #clock;
  /** @type {Map<string, Video>} */
  #videos = new Map();
  /** The rows on the page, by video ID.
   * @type {Map<string, Row>} */
  #rows = new Map();
  /** Whether there are videos that are not remembered. */
  #hasMore = false;
  /** The totals of all videos in the last snapshot.
   * @type {{ total: number, videos: number } | undefined} */
  #all;
  /** Whether the counts were read. Only then does an empty table mean that there are no plays. */
  #isRead = false;
  #isOpen = false;
  /** When the connection was lost, until the counts are read again.
   * @type {number | undefined} */
  #disconnectedAt;
  #column = 'count';
  #direction = COLUMNS.count.direction;
  /** @type {NodeListOf<HTMLElement>} */
  #headers = document.querySelectorAll('#plays-table [data-column]');
  #reader = new Refresher(() => this.#read());
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #highlightTimer;
  #requestDraw = throttleDraw(() => this.#draw(), DRAW_INTERVAL_MS);

  /** @param {import('../api.js').Context} context */
  constructor({ urls, clock }) {
    this.#urls = urls;
    this.#clock = clock;
    for (const header of this.#headers) {
      const column = header.dataset.column ?? '';
      header.querySelector('button')?.addEventListener('click', () => this.#sortBy(column));
    }
  }

  /** @param {Live} live */
  watch(live) {
    live.on('plays', ({ counts = [] }) => this.#update(counts));
    live.on('stats', ({ snapshot }) => this.#updateAll(snapshot));
    live.on('state', ({ state }) => this.#onState(state));
    // Frames of plays are not replayed.
    live.on('gap', () => this.#reader.request());
    live.on('resumed', (frame) => this.#onResumed(frame));
  }

  /** @param {Resumed} frame */
  #onResumed(frame) {
    if (frame.resumed) return;
    // After a loss of data, counts may be lower than before.
    if (frame.reason !== 'window') this.#clear();
    this.#reader.request();
  }

  #clear() {
    this.#videos.clear();
    this.#hasMore = false;
    this.#isRead = false;
    this.#requestDraw();
  }

  /**
   * Reads the counts once the subscription is in effect, so that no change is missed in between.
   * @param {string} state
   */
  #onState(state) {
    this.#isOpen = state === 'open';
    if (this.#isOpen) return this.#reader.request();
    this.#reader.cancel();
    if (this.#disconnectedAt !== undefined) return;
    this.#disconnectedAt = this.#clock.server;
    if (this.#videos.size === 0) return;
    const since = createTime(this.#disconnectedAt);
    byId('plays-notice').replaceChildren(
      ...['Disconnected since ', since, ': these counts may be outdated.'],
    );
  }

  /** Reads the videos with the most plays. */
  async #read() {
    const { list_url } = await this.#urls;
    let page;
    try {
      page = await request(`${list_url}/v1/plays?limit=${VIDEOS_MAX}`);
    } catch (error) {
      if (error instanceof ApiError && this.#isOpen) this.#showReadError(error);
      throw error;
    }
    /** @type {{ items: { video_id: string, count: number, updated_at: string }[], has_more: boolean }} */
    const { items, has_more } = page;
    for (const { video_id: id, count, updated_at } of items) {
      const changedAt = Date.parse(updated_at) || this.#clock.server;
      if (!(count > (this.#videos.get(id)?.count ?? -1))) continue;
      this.#videos.set(id, { id, count, changedAt, highlightUntil: 0 });
    }
    this.#hasMore ||= has_more;
    this.#isRead = true;
    this.#requestDraw();
    if (!this.#isOpen) return;
    this.#disconnectedAt = undefined;
    byId('plays-notice').replaceChildren();
  }

  /** @param {ApiError} error */
  #showReadError({ message }) {
    const consequence = this.#videos.size ? ' These counts may be outdated.' : '';
    setText(byId('plays-notice'), `The counts cannot be read: ${message}${consequence}`);
  }

  /** @param {Plays['counts']} counts */
  #update(counts) {
    const changedAt = this.#clock.server;
    const highlightUntil = performance.now() + HIGHLIGHT_MS;
    for (const { video_id: id, count } of counts) {
      if (typeof id !== 'string' || !isFiniteNumber(count)) continue;
      if (count <= (this.#videos.get(id)?.count ?? -1)) continue;
      this.#videos.set(id, { id, count, changedAt, highlightUntil });
    }
    // A hidden page may not be drawn for hours, and its memory must not grow in the meantime.
    if (this.#videos.size > 2 * VIDEOS_MAX) this.#dropVideos();
    this.#requestDraw();
  }

  /** @param {Snapshot} snapshot */
  #updateAll({ plays }) {
    if (!isFiniteNumber(plays?.total) || !isFiniteNumber(plays.videos)) return;
    this.#all = plays;
    this.#requestDraw();
  }

  #dropVideos() {
    if (this.#videos.size <= VIDEOS_MAX) return;
    const sorted = [...this.#videos.values()].sort(compareByPopularity);
    for (const { id } of sorted.slice(VIDEOS_MAX)) this.#videos.delete(id);
    this.#hasMore = true;
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
    byId('plays-empty').hidden = videos.length > 0 || !this.#isRead;
    byId('plays-content').hidden = videos.length === 0;
    const max = videos.reduce((max, { count }) => Math.max(max, count), 1);
    const visible = videos.slice(0, ROWS_MAX);
    this.#drawRows(visible, max);
    const total = videos.reduce((total, { count }) => total + count, 0);
    setText(byId('plays-videos'), formatNumber(videos.length));
    setText(byId('plays-total'), formatNumber(total));
    const hasMore = this.#hasMore;
    setText(byId('plays-videos-label'), hasMore ? 'videos with the most plays' : 'videos');
    setText(byId('plays-total-label'), hasMore ? 'plays of these videos' : 'total plays');
    const more = this.#describeHidden(visible.length, videos.length);
    setText(byId('plays-more'), more);
    byId('plays-more').hidden = !more;
    this.#drawHighlights();
  }

  /** Highlights the rows that have changed. CSS fades the highlight. */
  #drawHighlights() {
    clearTimeout(this.#highlightTimer);
    const now = performance.now();
    let isHighlighted = false;
    for (const [id, row] of this.#rows) {
      const until = this.#videos.get(id)?.highlightUntil ?? 0;
      row.highlight(until > now);
      isHighlighted ||= until > now;
    }
    if (isHighlighted) this.#highlightTimer = setTimeout(() => this.#drawHighlights(), 250);
  }

  /**
   * @param {Video[]} videos
   * @param {number} max
   */
  #drawRows(videos, max) {
    const rows = new Map(
      videos.map((video) => [video.id, this.#rows.get(video.id) ?? new Row(video)]),
    );
    for (const video of videos) rows.get(video.id)?.update(video, max);
    this.#rows = rows;
    reorderChildren(
      byId('plays-body'),
      [...rows.values()].map(({ element }) => element),
    );
  }

  /**
   * Describes the videos without a row.
   * @param {number} visible
   * @param {number} known
   */
  #describeHidden(visible, known) {
    const sentences = [];
    if (visible < known) {
      const numbers = `${formatNumber(visible)} of ${formatNumber(known)}`;
      sentences.push(`Showing the first ${numbers} videos.`);
    }
    if (this.#hasMore) {
      const number = formatNumber(VIDEOS_MAX);
      sentences.push(`This page tracks only the ${number} with the most plays.`);
      if (this.#all) {
        const { videos, total } = this.#all;
        const all = `${formatCount(videos, 'video')} with ${formatCount(total, 'play')}`;
        sentences.push(`The last statistics counted ${all}.`);
      }
    }
    return sentences.join(' ');
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
  /** The displayed values, so that only changed values are written.
   * @type {{ count?: number, second?: number, share?: number }} */
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
   */
  update({ count, changedAt }, max) {
    const share = Math.round((1000 * count) / max) / 10;
    const second = Math.floor(changedAt / 1000);
    const drawn = this.#drawn;
    if (drawn.count !== count) this.#count.textContent = formatNumber(count);
    if (drawn.second !== second) this.#changed.replaceChildren(createTime(changedAt));
    if (drawn.share !== share) this.#header.style.setProperty('--share', `${share}%`);
    this.#drawn = { count, second, share };
  }

  /** @param {boolean} isHighlighted */
  highlight(isHighlighted) {
    this.element.classList.toggle('highlighted', isHighlighted);
  }
}
