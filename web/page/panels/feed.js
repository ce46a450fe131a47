/** The panel of live messages: messages appear, fade, and disappear when they expire. */

import { request } from '../api.js';
import { byId } from '../ui/dom.js';
import { formatCount } from '../ui/format.js';
import { MessageView } from '../ui/message.js';

/** @import { Live, Message } from '../../mayfly.js' */

/** The number of messages shown; the oldest ones are removed. */
const MESSAGES_MAX = 200;
const NOTICE_MS = 15_000;
/** Usually, a message is stored this long after it was accepted. */
const STORED_MS = 2500;
/** The size of the messages that are saved for a reload. Session storage holds a few megabytes. */
const SAVED_CHARS_MAX = 1_000_000;
/** The minimum interval between announcements to screen readers. */
const ANNOUNCE_MS = 6000;
/**
 * IDs of messages that were taken or deleted, so that a late list response does not restore them.
 */
const REMOVED_MAX = 1000;

export class FeedPanel {
  #urls;
  #now;
  /** @type {string[]} */
  #channels = [];
  /** The messages on the page, by ID.
   * @type {Map<string, MessageView>} */
  #views = new Map();
  /** The messages that are not drawn yet, by ID.
   * @type {Map<string, Message>} */
  #received = new Map();
  #hasOverflowed = false;
  #isDrawRequested = false;
  /** @type {Set<string>} */
  #removedIds = new Set();
  /** @type {Message[]} */
  #unannounced = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #announceTimer;
  #announcedAt = -ANNOUNCE_MS;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noticeTimer;
  #list = byId('feed');

  /** @param {{ urls: Promise<import('../api.js').ServiceUrls>, now: () => number }} options */
  constructor({ urls, now }) {
    this.#urls = urls;
    this.#now = now;
    setInterval(() => this.#refresh(), 1000);
  }

  /**
   * Shows only these channels, or all if there are none.
   * @param {string[]} channels
   */
  setChannels(channels) {
    this.#channels = channels;
    for (const { message, element } of this.#views.values()) {
      if (this.#isFiltered(message)) {
        element.remove();
        this.#views.delete(message.id);
      }
    }
    this.#updateCount();
  }

  /** Returns the messages on the page as JSON, newest first. */
  serialize() {
    this.#draw();
    const saved = [];
    let chars = 0;
    for (const element of this.#list.children) {
      const message = this.#views.get(idOf(element))?.message;
      if (!message) continue;
      const json = JSON.stringify(message);
      chars += json.length;
      if (chars > SAVED_CHARS_MAX) break;
      saved.push(json);
    }
    return `[${saved}]`;
  }

  /**
   * Shows the messages of `serialize` that have not expired.
   * @param {string | null} json
   */
  restore(json) {
    if (!json) return;
    for (const message of JSON.parse(json).reverse()) {
      if (Date.parse(message.expires_at) > this.#now()) this.#add(message);
    }
    this.#draw();
  }

  /** @param {Live} live */
  watch(live) {
    let isLoaded = false;
    live.on('message', (message) => {
      this.#add(message);
      this.#announce(message);
    });
    live.on('expired', ({ ids, by_time }) => {
      for (const id of ids) by_time ? this.#expire(id) : this.#removeTaken(id);
    });
    live.on('state', ({ state }) => {
      if (state !== 'open' || isLoaded) return;
      isLoaded = true;
      this.#loadMessages();
      // A message accepted before the subscription may not be stored, and so not be listed, yet.
      setTimeout(() => this.#loadMessages(), STORED_MS);
    });
    live.on('resumed', ({ resumed }) => {
      if (resumed) return;
      this.#showNotice('The connection was not resumed: messages may be missing.', 'bad');
      this.#loadMessages();
    });
    live.on('gap', ({ dropped }) => {
      const messages = formatCount(dropped, 'message');
      this.#showNotice(`${messages} dropped: this client was too slow.`, 'bad');
      this.#loadMessages();
    });
  }

  /** @param {number} messages */
  showMissed(messages) {
    this.#showNotice(`Resumed: ${formatCount(messages, 'missed message')} received.`, 'good');
  }

  /**
   * @param {string} text
   * @param {'good' | 'bad'} kind
   */
  #showNotice(text, kind) {
    const notice = byId('feed-notice');
    notice.className = `notice ${kind}`;
    notice.textContent = text;
    notice.hidden = false;
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => (notice.hidden = true), NOTICE_MS);
  }

  /** Adds the stored messages that are live, and removes those that have expired. */
  async #loadMessages() {
    const query = new URLSearchParams({ order: 'desc', limit: String(MESSAGES_MAX) });
    if (this.#channels.length === 1) query.set('channel', this.#channels[0]);
    let items;
    try {
      const { list_url } = await this.#urls;
      ({ items } = await request(`${list_url}/v1/messages?${query}`));
    } catch {
      return; // Optional: live messages are shown without it.
    }
    for (const message of items.reverse()) {
      const isLive = Date.parse(message.expires_at) > this.#now();
      if (isLive && !this.#removedIds.has(message.id)) this.#add(message);
      else if (!isLive && this.#views.has(message.id)) this.#removeTaken(message.id);
    }
  }

  /** @param {Message} message */
  #isFiltered({ channel }) {
    return this.#channels.length > 0 && !this.#channels.includes(channel);
  }

  /** @param {Message} message */
  #add(message) {
    if (this.#isFiltered(message) || this.#views.has(message.id)) return;
    this.#received.set(message.id, message);
    if (this.#received.size > MESSAGES_MAX) {
      this.#received.delete(firstKey(this.#received));
      this.#hasOverflowed = true;
    }
    if (this.#isDrawRequested) return;
    this.#isDrawRequested = true;
    // A hidden page has no animation frames.
    if (document.hidden) setTimeout(() => this.#draw(), 100);
    else requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#isDrawRequested = false;
    if (this.#received.size === 0) return;
    const now = this.#now();
    for (const message of this.#received.values()) {
      const view = new MessageView(message, now);
      this.#views.set(message.id, view);
      this.#insert(view.element);
    }
    this.#received.clear();
    this.#removeOverflow();
    this.#updateCount();
  }

  /**
   * Inserts a message by its time, newest first, before messages of the same time.
   * @param {HTMLElement} element
   */
  #insert(element) {
    let next = this.#list.firstElementChild;
    while (next && createdAtOf(next) > createdAtOf(element)) next = next.nextElementSibling;
    this.#list.insertBefore(element, next);
  }

  #removeOverflow() {
    while (this.#list.childElementCount > MESSAGES_MAX) {
      const last = /** @type {Element} */ (this.#list.lastElementChild);
      this.#views.delete(idOf(last));
      last.remove();
      this.#hasOverflowed = true;
    }
    if (!this.#hasOverflowed) return;
    this.#hasOverflowed = false;
    byId('feed-more').hidden = false;
    byId('feed-more').textContent =
      `Showing the newest ${MESSAGES_MAX} messages. Older ones may still be live.`;
  }

  /**
   * The time to live of a message has passed.
   * @param {string} id
   */
  #expire(id) {
    const view = this.#views.get(id);
    if (view && view.removeAt <= this.#now()) this.#remove(view);
  }

  /**
   * A message was taken or deleted.
   * @param {string} id
   */
  #removeTaken(id) {
    this.#removedIds.add(id);
    if (this.#removedIds.size > REMOVED_MAX) this.#removedIds.delete(firstKey(this.#removedIds));
    this.#received.delete(id);
    const view = this.#views.get(id);
    if (view) this.#remove(view, 'taken or deleted');
  }

  /**
   * @param {MessageView} view
   * @param {string} [reason]
   */
  #remove(view, reason) {
    view.remove(reason);
    this.#views.delete(view.message.id);
    this.#updateCount();
  }

  #updateCount() {
    const count = this.#views.size;
    byId('feed-count').textContent = count ? count.toLocaleString() : '';
    byId('feed-empty').hidden = count > 0 || this.#list.childElementCount > 0;
    if (count < MESSAGES_MAX) byId('feed-more').hidden = true;
  }

  #refresh() {
    const now = this.#now();
    for (const view of this.#views.values()) {
      if (view.removeAt <= now) this.#remove(view);
      else if (!document.hidden) view.updateRemaining(now);
    }
    this.#updateCount();
  }

  /**
   * Announces new messages to screen readers: one by its text, several by their number.
   * @param {Message} message
   */
  #announce(message) {
    if (this.#isFiltered(message)) return;
    this.#unannounced.push(message);
    if (this.#unannounced.length > MESSAGES_MAX) this.#unannounced.shift();
    const delay = Math.max(500, this.#announcedAt + ANNOUNCE_MS - performance.now());
    this.#announceTimer ??= setTimeout(() => {
      const [first, ...others] = this.#unannounced;
      byId('feed-announcer').textContent = others.length
        ? formatCount(this.#unannounced.length, 'new message')
        : `${first.username ?? 'Anonymous'}: ${(first.text ?? 'data').slice(0, 200)}`;
      this.#unannounced = [];
      this.#announceTimer = undefined;
      this.#announcedAt = performance.now();
    }, delay);
  }
}

/** @param {Element} element */
const idOf = (element) => /** @type {HTMLElement} */ (element).dataset.id ?? '';

/** @param {Element} element */
const createdAtOf = (element) => /** @type {HTMLElement} */ (element).dataset.created ?? '';

/** @param {Map<string, unknown> | Set<string>} entries */
const firstKey = (entries) => [...entries.keys()][0];
