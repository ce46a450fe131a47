/**
 * The elements of the feed. At first, only the newest messages have elements. More elements are
 * added when the end of the list becomes visible. While the list is scrolled down, the messages in
 * view do not move.
 */

import { reorderChildren } from '../ui/dom.js';
import { ANIMATED_MAX, MessageView, removeViews } from '../ui/message.js';

/** @import { Entry } from './list.js' */

/** The initial number of cards, and the number added when the end of the list becomes visible. */
export const CARDS_STEP = 50;

export class Cards {
  #list;
  #scroller;
  #onTop;
  #isAtTop = true;
  #max = CARDS_STEP;
  /** The cards by message ID.
   * @type {Map<string, MessageView>} */
  #views = new Map();

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} scroller
   * @param {() => void} onTop called when the list is scrolled back to its top
   */
  constructor(list, scroller, onTop) {
    this.#list = list;
    this.#scroller = scroller;
    this.#onTop = onTop;
    scroller.addEventListener('scroll', () => this.#checkScroll(), { passive: true });
  }

  /**
   * Whether the user is reading: the list is scrolled, or contains the focus or a selection. The
   * button for new messages counts as part of the list. Otherwise, it would disappear when the
   * focus moves from the list to it.
   */
  get isReading() {
    const selection = getSelection();
    return (
      !this.#isAtTop ||
      this.#list.contains(document.activeElement) ||
      document.activeElement?.id === 'feed-new' ||
      Boolean(selection && !selection.isCollapsed && this.#list.contains(selection.anchorNode))
    );
  }

  /** The maximum number of cards. */
  get max() {
    return this.#max;
  }

  get size() {
    return this.#views.size;
  }

  /** @param {string} id */
  get(id) {
    return this.#views.get(id);
  }

  /** Raises the maximum number of cards. */
  extend() {
    this.#max += CARDS_STEP;
  }

  scrollToTop() {
    const selection = getSelection();
    if (selection && this.#list.contains(selection.anchorNode)) selection.removeAllRanges();
    const isFocused = this.#list.contains(document.activeElement);
    if (isFocused) this.#scroller.focus({ preventScroll: true });
    this.#scroller.scrollTop = 0;
    this.#isAtTop = true;
    this.#max = CARDS_STEP;
  }

  /**
   * Shows the first entries, in this order, up to the maximum number of cards.
   * @param {Entry[]} entries
   * @param {number} now
   */
  show(entries, now) {
    /** @type {Map<string, MessageView>} */
    const views = new Map();
    const arrived = [];
    for (const entry of entries.slice(0, this.#max)) {
      const { id } = entry.message;
      let view = this.#views.get(id);
      if (!view) arrived.push((view = createCard(entry, now)));
      views.set(id, view);
    }
    const before = [...this.#views.keys()];
    this.#views = views;
    if (before.length === views.size && [...views.keys()].every((id, i) => id === before[i]))
      return;
    if (arrived.length <= ANIMATED_MAX) arrived.forEach(animateArrival);
    const elements = [...views.values()].map(({ element }) => element);
    this.keepPosition(() => reorderChildren(this.#list, elements));
  }

  /**
   * Removes the cards of messages that are no longer in the list.
   * @param {Entry[]} entries
   */
  remove(entries) {
    /** @type {MessageView[]} */
    const removed = [];
    for (const { message } of entries) {
      const view = this.#views.get(message.id);
      if (view) removed.push(view);
      this.#views.delete(message.id);
    }
    if (removed.length === 0) return;
    this.keepPosition(() => removeViews(removed, this.#isAtTop));
  }

  /**
   * Updates the remaining time on each card.
   * @param {number} now
   */
  update(now) {
    this.keepPosition(() => {
      for (const view of this.#views.values()) view.update(now);
    });
    // A list that became shorter may be at its top without a scroll event.
    if (!this.#isAtTop) this.#checkScroll();
  }

  /**
   * Applies a change to the cards and keeps the cards in view in place. Not all browsers support
   * scroll anchoring.
   * @param {() => void} change
   */
  keepPosition(change) {
    if (this.#isAtTop) return change();
    const { top } = this.#scroller.getBoundingClientRect();
    const anchor = [...this.#views.values()].find(
      ({ element }) => element.isConnected && element.getBoundingClientRect().bottom > top,
    );
    const before = anchor?.element.getBoundingClientRect().top ?? 0;
    change();
    const after = anchor?.element.getBoundingClientRect().top ?? 0;
    if (after !== before) this.#scroller.scrollTop += after - before;
  }

  #checkScroll() {
    const isAtTop = this.#scroller.scrollTop <= 1;
    if (isAtTop === this.#isAtTop) return;
    this.#isAtTop = isAtTop;
    if (!isAtTop) return;
    this.#max = CARDS_STEP;
    this.#onTop();
  }
}

/**
 * @param {Entry} entry
 * @param {number} now
 */
function createCard(entry, now) {
  const view = new MessageView(entry.message, entry.expiresAt, now);
  if (entry.isOwn) view.markOwn();
  if (entry.state === 'expired') view.markExpired();
  if (entry.state === 'removed') view.markRemoved();
  return view;
}

/** @param {MessageView} view */
function animateArrival({ element }) {
  element.classList.add('arriving');
  const end = () => element.classList.remove('arriving');
  element.addEventListener('animationend', end, { once: true });
}
