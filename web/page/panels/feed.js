/** The panel of live messages. Messages disappear when they expire or are taken or deleted. */

import { request } from '../api.js';
import { Announcer } from '../feed/announcer.js';
import { Cards } from '../feed/cards.js';
import { MESSAGES_MAX, MessageList, compareNewest } from '../feed/list.js';
import { Rate } from '../feed/rate.js';
import { Refresher } from '../refresher.js';
import { byId, setText, throttleDraw } from '../ui/dom.js';
import { formatCount, formatRate } from '../ui/format.js';
import { REASON_VISIBLE_MS, findExpiry } from '../ui/message.js';

/** @import { Live, Message, MessageFrame } from '../../mayfly.js' */
/** @import { Entry, EntryOptions } from '../feed/list.js' */

/**
 * The minimum interval between updates of the list. Up to three updates per second do not count as
 * flashes (WCAG 2.3.1). Messages that arrive between two updates are drawn together.
 */
const DRAW_INTERVAL_MS = 350;
const NOTICE_MS = 15_000;
/** A message is usually stored within this time after it has been accepted. */
const STORED_MS = 2500;
/** The minimum time that a displayed message stays on the page, even if it expires earlier. */
const EXPIRED_VISIBLE_MS = 2500;
/** The maximum size of the messages saved for a reload. Session storage holds a few megabytes. */
const SAVED_CHARS_MAX = 1_000_000;
/**
 * The maximum number of remembered IDs of taken or deleted messages. With these IDs, a late list
 * response does not restore the messages.
 */
const REMOVED_MAX = 1000;

export class FeedPanel {
  #urls;
  #clock;
  /** @type {string[]} */
  #channels = [];
  #list = new MessageList();
  #scroller = byId('feed-scroll');
  #cards = new Cards(byId('feed'), this.#scroller, () => this.#requestDraw());
  #announcer = new Announcer(byId('feed-announcer'));
  /** The messages received over the live connection. */
  #received = new Rate();
  #lastOrder = 0;
  /** @type {Set<string>} */
  #removedIds = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noticeTimer;
  #loader = new Refresher(() => this.#loadMessages());
  #requestDraw = throttleDraw(() => this.#draw(), DRAW_INTERVAL_MS);

  /** @param {import('../api.js').Context} context */
  constructor({ urls, clock }) {
    this.#urls = urls;
    this.#clock = clock;
    byId('feed-new').addEventListener('click', () => this.#showNewest());
    byId('feed-older').addEventListener('click', () => this.#showOlder());
    const isVisible = (/** @type {IntersectionObserverEntry[]} */ entries) =>
      entries.some(({ isIntersecting }) => isIntersecting) && this.#showOlder();
    const options = { root: this.#scroller, rootMargin: '300px' };
    new IntersectionObserver(isVisible, options).observe(byId('feed-older'));
    setInterval(() => this.#refresh(), 1000);
  }

  /**
   * Shows only these channels, or all if there are none.
   * @param {string[]} channels
   */
  setChannels(channels) {
    this.#channels = channels;
    this.#remove([...this.#list.all()].filter(({ message }) => this.#isFiltered(message)));
    this.#drawSummary();
  }

  /** Returns the live messages as JSON, newest first. */
  serialize() {
    const now = this.#clock.elapsed;
    const saved = [];
    let chars = 0;
    for (const entry of [...this.#list.all()].sort(compareNewest)) {
      if (entry.state !== 'live') continue;
      const { message, order, isOwn, expiresAt } = entry;
      const json = JSON.stringify({ message, order, isOwn, remainingMs: expiresAt - now });
      chars += json.length;
      if (chars > SAVED_CHARS_MAX) break;
      saved.push(json);
    }
    return `{"savedAt":${Date.now()},"messages":[${saved}]}`;
  }

  /**
   * Shows the messages that `serialize` returned, except those that have expired.
   * @param {string | null} json
   */
  restore(json) {
    if (!json) return;
    // The saved value may have the format of an earlier version of this page.
    const { savedAt, messages = [] } = JSON.parse(json);
    // The local clock is the only one that continues while no page is open.
    const passedMs = Math.max(0, Date.now() - savedAt);
    for (const { message, order, isOwn, remainingMs } of messages.reverse()) {
      if (!(remainingMs > passedMs)) continue;
      this.#lastOrder = Math.max(this.#lastOrder, order);
      const expiresAt = this.#clock.elapsed + remainingMs - passedMs;
      this.#add(message, { order, isOwn, expiresAt });
    }
  }

  /** @param {Live} live */
  watch(live) {
    let isLoaded = false;
    live.on('message', (message, frame) => this.#receive(message, frame));
    live.on('expired', ({ ids, by_time }) =>
      by_time ? this.#expire(ids) : this.#removeTaken(ids),
    );
    live.on('state', ({ state }) => {
      if (state !== 'open') this.#loader.cancel();
      if (state !== 'open' || isLoaded) return;
      isLoaded = true;
      this.#loader.request();
      // A message accepted before the subscription may not be stored yet and is then not listed.
      setTimeout(() => live.state.state === 'open' && this.#loader.request(), STORED_MS);
    });
    live.on('resumed', ({ resumed }) => {
      if (resumed) return;
      this.#showNotice('The connection was not resumed: messages may be missing.', 'bad');
      this.#loader.request();
    });
    live.on('gap', ({ dropped }) => {
      const messages = formatCount(dropped, 'message');
      this.#showNotice(`${messages} dropped: this client was too slow.`, 'bad');
      this.#loader.request();
    });
  }

  /** @param {number} messages */
  showMissed(messages) {
    this.#showNotice(`Resumed: ${formatCount(messages, 'missed message')} received.`, 'good');
  }

  /**
   * Shows a message that was posted on this page, and returns a sentence that says where it is.
   * @param {Message} message
   */
  showPosted(message) {
    if (this.#isFiltered(message)) {
      return `The channel filter of the live messages hides #${message.channel}.`;
    }
    if (this.#removedIds.has(message.id)) return 'It has already been taken or deleted.';
    const entry =
      this.#list.get(message.id) ??
      this.#add(message, {
        order: this.#createOrder(),
        expiresAt: findExpiry(message, this.#clock),
      });
    entry.isOwn = true;
    this.#cards.get(message.id)?.markOwn();
    this.#list.pin(message.id);
    this.#showNewest();
    return 'It is at the top of the live messages.';
  }

  /**
   * @param {string} text
   * @param {'good' | 'bad'} kind
   */
  #showNotice(text, kind) {
    const notice = byId('feed-notice');
    notice.className = `notice ${kind}`;
    setText(notice, text);
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => setText(notice, ''), NOTICE_MS);
  }

  /** Adds the stored messages that are live, and removes messages that were taken or deleted. */
  async #loadMessages() {
    const query = new URLSearchParams({ order: 'desc', limit: String(MESSAGES_MAX) });
    if (this.#channels.length === 1) query.set('channel', this.#channels[0]);
    const { list_url } = await this.#urls;
    /** @type {{ items: Message[] }} */
    const { items } = await request(`${list_url}/v1/messages?${query}`);
    const now = this.#clock.server;
    for (const message of items.reverse()) {
      const entry = this.#list.get(message.id);
      const expiresAt = Date.parse(message.expires_at);
      // A message expires earlier than announced only if it was taken or deleted.
      if (entry && expiresAt < Date.parse(entry.message.expires_at)) {
        this.#removeTaken([message.id]);
      } else if (!entry && expiresAt > now && !this.#isExcluded(message)) {
        const order = Math.min(Date.parse(message.created_at), now);
        this.#add(message, { order, expiresAt: findExpiry(message, this.#clock) });
      }
    }
  }

  /** @param {Message} message */
  #isFiltered({ channel }) {
    return this.#channels.length > 0 && !this.#channels.includes(channel);
  }

  /** @param {Message} message */
  #isExcluded(message) {
    return this.#isFiltered(message) || this.#removedIds.has(message.id);
  }

  /**
   * @param {Message} message
   * @param {MessageFrame} frame
   */
  #receive(message, { expires_in_ms }) {
    if (this.#isFiltered(message)) return;
    this.#received.add();
    if (this.#removedIds.has(message.id) || this.#list.get(message.id)) return;
    const expiresAt = this.#clock.elapsed + expires_in_ms;
    this.#add(message, { order: this.#createOrder(), expiresAt });
    this.#announcer.add(message);
  }

  /**
   * @param {Message} message
   * @param {EntryOptions} options
   */
  #add(message, options) {
    this.#requestDraw();
    return this.#list.add(message, options);
  }

  /**
   * Returns the order of a message that arrives now. The message is sorted above all earlier ones,
   * even if the clock that set `created_at` is behind.
   */
  #createOrder() {
    this.#lastOrder = Math.max(this.#lastOrder, this.#clock.server);
    return this.#lastOrder;
  }

  #draw() {
    const { isReading } = this.#cards;
    if (!isReading) this.#list.merge();
    const now = this.#clock.elapsed;
    this.#cards.show(this.#list.entries, now);
    const unshown = [];
    for (const entry of this.#list.entries) {
      if (entry.state !== 'expired') continue;
      if (!this.#cards.get(entry.message.id)) unshown.push(entry);
      else if (entry.removeAt === Infinity) entry.removeAt = now + EXPIRED_VISIBLE_MS;
    }
    this.#remove(unshown);
    this.#drawSummary();
  }

  /** Draws everything except the cards. */
  #drawSummary() {
    const { entries, newCount, isTruncated } = this.#list;
    const live = entries.filter(({ state }) => state === 'live').length;
    const messages = formatCount(live, 'live message');
    setText(byId('feed-count'), isTruncated ? `Newest ${messages}` : messages);
    const hasNew = newCount > 0 && this.#cards.isReading;
    byId('feed-new').hidden = !hasNew;
    if (hasNew) setText(byId('feed-new'), formatCount(newCount, 'new message'));
    byId('feed-empty').hidden = entries.length + newCount > 0;
    const hasOlder = entries.length > this.#cards.size;
    byId('feed-older').hidden = !hasOlder;
    byId('feed-more').hidden = !isTruncated || hasOlder;
    const more = `The newest ${MESSAGES_MAX} messages are listed. Older ones may still be live.`;
    setText(byId('feed-more'), more);
  }

  /** Scrolls to the top and shows the new messages there. */
  #showNewest() {
    const isFocused = document.activeElement === byId('feed-new');
    this.#cards.scrollToTop();
    if (isFocused) this.#scroller.focus({ preventScroll: true });
    this.#draw();
  }

  #showOlder() {
    if (this.#list.entries.length <= this.#cards.size) return;
    this.#cards.extend();
    this.#requestDraw();
  }

  /**
   * Expires messages when their time to live has passed. A message that has just arrived stays
   * visible for a moment.
   * @param {string[]} ids
   */
  #expire(ids) {
    const now = this.#clock.elapsed;
    // The user does not see the message arrive.
    const isUnseen = this.#cards.isReading || document.hidden;
    const removed = [];
    for (const id of ids) {
      const entry = this.#list.get(id);
      if (entry?.state !== 'live') continue;
      const view = this.#cards.get(id);
      entry.state = 'expired';
      entry.removeAt = view ? view.createdAt + EXPIRED_VISIBLE_MS : Infinity;
      if (entry.removeAt <= now || (!view && isUnseen)) removed.push(entry);
      else if (view) view.markExpired();
      else this.#requestDraw();
    }
    this.#remove(removed);
  }

  /**
   * Marks messages that were taken or deleted, then removes them.
   * @param {string[]} ids
   */
  #removeTaken(ids) {
    /** @type {Entry[]} */
    const marked = [];
    /** @type {Entry[]} */
    const removed = [];
    for (const id of ids) {
      this.#removedIds.add(id);
      const entry = this.#list.get(id);
      if (!entry || entry.state === 'removed') continue;
      entry.state = 'removed';
      (this.#cards.get(id) ? marked : removed).push(entry);
    }
    for (const id of this.#removedIds) {
      if (this.#removedIds.size <= REMOVED_MAX) break;
      this.#removedIds.delete(id);
    }
    this.#remove(removed);
    if (marked.length === 0) return;
    this.#cards.keepPosition(() => {
      for (const { message } of marked) this.#cards.get(message.id)?.markRemoved();
    });
    setTimeout(() => this.#remove(marked), REASON_VISIBLE_MS);
  }

  /** @param {Entry[]} entries */
  #remove(entries) {
    if (entries.length === 0) return;
    this.#list.remove(entries);
    this.#cards.remove(entries);
    const isMissing = this.#cards.size < Math.min(this.#cards.max, this.#list.entries.length);
    if (isMissing || this.#list.entries.length === 0) this.#requestDraw();
    this.#drawSummary();
  }

  /** Updates everything that changes with time. */
  #refresh() {
    const now = this.#clock.elapsed;
    const all = [...this.#list.all()];
    const due = all.filter(({ state, expiresAt }) => state === 'live' && expiresAt <= now);
    this.#expire(due.map(({ message }) => message.id));
    this.#remove(all.filter(({ removeAt }) => removeAt <= now));
    const rate = this.#received.measure(performance.now());
    if (document.hidden) return;
    this.#cards.update(now);
    const { total } = this.#received;
    setText(byId('feed-received'), `${formatCount(total, 'message')} received`);
    const perSecond = formatRate(rate);
    const noun = perSecond === '1' ? 'message' : 'messages';
    setText(byId('feed-rate'), `${perSecond} ${noun} per second`);
    if (this.#list.newCount > 0 && !this.#cards.isReading) this.#requestDraw();
    this.#drawSummary();
  }
}
