/** The panel of what is live: messages appear, fade, and vanish when they end. */

import { ask, at, count } from './ground.js';
import { Shown } from './message.js';

/** So many are on the page; older ones make room. */
const MESSAGES_MAX = 200;
const NOTICE_MS = 15_000;
/** After this long what was accepted is stored, as a rule. */
const STORED_MS = 2500;
/** So much of what is shown is kept for a reload; a tab may keep some megabytes. */
const KEPT_CHARS_MAX = 1_000_000;
/** New messages are read out no more often than this. */
const NEWS_MS = 6000;
/** Ids of what ended otherwise than by its time, so that a slower list does not bring it back. */
const GONE_MAX = 1000;

export class Feed {
  #where;
  #now;
  #channels = [];
  /** By id, whatever is on the page. */
  #shown = new Map();
  /** What has come since the page was drawn last. */
  #arrived = new Map();
  /** Whether more came since than there is room for. */
  #leftOut = false;
  #drawing = false;
  #gone = new Set();
  #news = [];
  #newsTimer;
  #toldAt = -NEWS_MS;
  #noticeTimer;
  #list = at('feed');

  constructor({ where, now }) {
    this.#where = where;
    this.#now = now;
    setInterval(() => this.#tick(), 1000);
  }

  /** Shows these channels from now on; none are all. */
  begin(channels) {
    this.#channels = channels;
    for (const { message, element } of this.#shown.values()) {
      if (this.#hides(message)) {
        element.remove();
        this.#shown.delete(message.id);
      }
    }
    this.#count();
  }

  /** What is shown, newest first, to be shown again after a reload. */
  save() {
    this.#draw();
    const kept = [];
    let chars = 0;
    for (const { dataset } of this.#list.children) {
      const message = this.#shown.get(dataset.id)?.message;
      const json = message ? JSON.stringify(message) : '';
      chars += json.length;
      if (chars > KEPT_CHARS_MAX) break;
      if (json) kept.push(json);
    }
    return `[${kept}]`;
  }

  /** Shows what was saved, as far as it still lives. */
  restore(saved) {
    if (!saved) return;
    for (const message of JSON.parse(saved).reverse()) {
      if (Date.parse(message.expires_at) > this.#now()) this.#arrive(message);
    }
    this.#draw();
  }

  watch(live) {
    let met = false;
    live.on('message', (message) => {
      this.#arrive(message);
      this.#tellNews(message);
    });
    live.on('expired', ({ ids, by_time }) => ids.forEach((id) => (by_time ? this.#expire(id) : this.#drop(id))));
    live.on('state', ({ state }) => {
      if (state !== 'open' || met) return;
      met = true;
      this.#recall();
      // What was accepted before this page listened, and is stored only now.
      setTimeout(() => this.#recall(), STORED_MS);
    });
    live.on('resumed', ({ resumed }) => {
      if (resumed) return;
      this.#notice('Not resumed: something may have been missed.', 'bad');
      this.#recall();
    });
    live.on('gap', ({ dropped }) => {
      this.#notice(`${count(dropped, 'message')} dropped: this page was too slow for them.`, 'bad');
      this.#recall();
    });
  }

  /** Says something above the messages, for a while. */
  #notice(text, kind) {
    const place = at('feed-notice');
    place.className = `notice ${kind}`;
    place.textContent = text;
    place.hidden = false;
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => (place.hidden = true), NOTICE_MS);
  }

  /** Says how many came while this page was away. */
  noticeResumed(messages) {
    this.#notice(`Resumed: ${count(messages, 'message')} came meanwhile.`, 'good');
  }

  /** Fetches what was live before this page looked, and what ended while it looked away. */
  async #recall() {
    const query = new URLSearchParams({ order: 'desc', limit: MESSAGES_MAX });
    if (this.#channels.length === 1) query.set('channel', this.#channels[0]);
    let items;
    try {
      const { list_url } = await this.#where;
      ({ items } = await ask(`${list_url}/v1/messages?${query}`));
    } catch {
      return; // It is an addition: what comes live is shown all the same.
    }
    for (const message of items.reverse()) {
      const live = Date.parse(message.expires_at) > this.#now();
      if (live && !this.#gone.has(message.id)) this.#arrive(message);
      else if (!live && this.#shown.has(message.id)) this.#drop(message.id);
    }
  }

  #hides({ channel }) {
    return this.#channels.length > 0 && !this.#channels.includes(channel);
  }

  #arrive(message) {
    if (this.#hides(message) || this.#shown.has(message.id)) return;
    this.#arrived.set(message.id, message);
    if (this.#arrived.size > MESSAGES_MAX) {
      this.#arrived.delete(this.#arrived.keys().next().value);
      this.#leftOut = true;
    }
    if (this.#drawing) return;
    this.#drawing = true;
    // A hidden page is given no frames.
    if (document.hidden) setTimeout(() => this.#draw(), 100);
    else requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#drawing = false;
    if (this.#arrived.size === 0) return;
    const now = this.#now();
    for (const message of this.#arrived.values()) {
      const shown = new Shown(message, now);
      this.#shown.set(message.id, shown);
      this.#place(shown.element);
    }
    this.#arrived.clear();
    this.#makeRoom();
    this.#count();
  }

  /** Puts it where its time belongs, newest first; of one time, what came later. */
  #place(element) {
    let next = this.#list.firstElementChild;
    while (next && next.dataset.created > element.dataset.created) next = next.nextElementSibling;
    this.#list.insertBefore(element, next);
  }

  #makeRoom() {
    while (this.#list.childElementCount > MESSAGES_MAX) {
      const { lastElementChild } = this.#list;
      this.#shown.delete(lastElementChild.dataset.id);
      lastElementChild.remove();
      this.#leftOut = true;
    }
    if (!this.#leftOut) return;
    this.#leftOut = false;
    at('feed-more').hidden = false;
    at('feed-more').textContent = `The ${MESSAGES_MAX} newest are shown. Older ones live on, out of sight.`;
  }

  /** Its time is up. */
  #expire(id) {
    const shown = this.#shown.get(id);
    if (shown && shown.leavesAt <= this.#now()) this.#remove(shown);
  }

  /** It was taken or deleted. */
  #drop(id) {
    this.#gone.add(id);
    if (this.#gone.size > GONE_MAX) this.#gone.delete(this.#gone.keys().next().value);
    this.#arrived.delete(id);
    const shown = this.#shown.get(id);
    if (shown) this.#remove(shown, 'taken or deleted');
  }

  #remove(shown, reason) {
    shown.leave(reason);
    this.#shown.delete(shown.message.id);
    this.#count();
  }

  #count() {
    const live = this.#shown.size;
    at('feed-count').textContent = live ? live.toLocaleString() : '';
    at('feed-empty').hidden = live > 0 || this.#list.childElementCount > 0;
    if (live < MESSAGES_MAX) at('feed-more').hidden = true;
  }

  #tick() {
    const now = this.#now();
    for (const shown of this.#shown.values()) {
      if (shown.leavesAt <= now) this.#remove(shown);
      else if (!document.hidden) shown.tell(now);
    }
    this.#count();
  }

  /** Reads out what is new: one message in full, several by their number. */
  #tellNews(message) {
    if (this.#hides(message)) return;
    this.#news.push(message);
    if (this.#news.length > MESSAGES_MAX) this.#news.shift();
    this.#newsTimer ??= setTimeout(() => {
      const [one] = this.#news;
      const several = `${count(this.#news.length, 'new message')}`;
      at('feed-news').textContent =
        this.#news.length > 1 ? several : `${one.username ?? 'No name'}: ${(one.text ?? 'data').slice(0, 200)}`;
      this.#news = [];
      this.#newsTimer = undefined;
      this.#toldAt = performance.now();
    }, Math.max(500, this.#toldAt + NEWS_MS - performance.now()));
  }
}
