/** A message on the page, in the feed or in an inbox. */

import { createElement, createTime, isolate, setText } from './dom.js';
import { formatRemaining } from './format.js';

/** @import { Message } from '../../mayfly.js' */
/** @import { Clock } from '../clock.js' */

/** Longer texts are collapsed. */
const LONG_CHARS = 600;
const LONG_LINES = 10;
/** Collapsed data shows at most this much, because the layout of a long text is slow. */
const COLLAPSED_CHARS_MAX = 4096;
/** A message is marked during the last half of its lifetime, but at most for this long. */
const ENDING_MAX_MS = 15_000;
/** The reason for a removal before the end of the lifetime, and how long it is shown. */
const REASON = 'taken or deleted';
export const REASON_VISIBLE_MS = 1600;
/** The duration of the removal animation. */
const COLLAPSE_MS = 260;
/** More than this many simultaneous removals or arrivals are not animated. */
export const ANIMATED_MAX = 3;

const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');

/**
 * Returns when a message expires, as `elapsed` of the clock. A message that was just received
 * expires after its time to live, minus the time that has passed since it was created. If the clock
 * that set `created_at` differs so much from the server's clock that the message seems to have
 * expired or to have been created in the future, the whole time to live is used.
 * @param {Message} message
 * @param {Clock} clock
 */
export function findExpiry({ created_at, expires_at }, clock) {
  const expiresAt = Date.parse(expires_at);
  const ttl = Math.max(0, expiresAt - Date.parse(created_at));
  const remaining = expiresAt - clock.server;
  return clock.elapsed + (remaining > 0 && remaining < ttl ? remaining : ttl);
}

export class MessageView {
  element;
  message;
  expiresAt;
  createdAt;
  #lifetimeMs;
  #remaining = createElement('span', { className: 'remaining' });
  #lifetime = createElement('div', { className: 'lifetime' });
  #isMarked = false;
  #isRemoved = false;

  /**
   * @param {Message} message
   * @param {number} expiresAt as `elapsed` of the clock, like `now`
   * @param {number} now
   */
  constructor(message, expiresAt, now) {
    this.message = message;
    this.expiresAt = expiresAt;
    this.createdAt = now;
    this.#lifetimeMs = Date.parse(message.expires_at) - Date.parse(message.created_at);
    this.element = createElement(
      'li',
      { className: 'message', data: { id: message.id } },
      this.#createHeader(),
      ...createBody(message),
      this.#lifetime,
    );
    this.update(now);
  }

  /** Whether the message is marked as removed. */
  get isRemoved() {
    return this.#isRemoved;
  }

  /**
   * Updates the remaining time.
   * @param {number} now
   */
  update(now) {
    if (this.#isMarked) return;
    const ms = Math.max(0, this.expiresAt - now);
    setText(this.#remaining, formatRemaining(ms));
    const share = this.#lifetimeMs > 0 ? Math.min(1, ms / this.#lifetimeMs) : 0;
    this.#lifetime.style.setProperty('--share', share.toFixed(3));
    const isEnding = ms < Math.min(ENDING_MAX_MS, this.#lifetimeMs / 2);
    this.element.classList.toggle('ending', isEnding);
  }

  /** Marks a message that was posted on this page. */
  markOwn() {
    if (this.element.classList.contains('own')) return;
    this.element.classList.add('own');
    const text = createElement('span', { className: 'own-label', textContent: 'your message' });
    this.#remaining.before(text);
  }

  markExpired() {
    this.#mark('expired', 'expired');
  }

  markRemoved() {
    this.#isRemoved = true;
    this.#mark('removed', REASON);
  }

  /**
   * @param {string} className
   * @param {string} text
   */
  #mark(className, text) {
    this.#isMarked = true;
    this.element.classList.remove('ending');
    this.element.classList.add(className);
    this.#remaining.textContent = text;
  }

  #createHeader() {
    const { username, city, state, channel, created_at } = this.message;
    const place = [city, state]
      .flatMap((part) => part || [])
      .flatMap((part, index) => [index ? ', ' : '', isolate(part)]);
    return createElement(
      'div',
      { className: 'message-header' },
      username == null
        ? createElement('span', { className: 'name none', textContent: 'anonymous' })
        : isolate(username, 'name'),
      place.length ? createElement('span', { className: 'place' }, ...place) : null,
      createElement('span', { className: 'channel', textContent: channel }),
      createTime(created_at),
      this.#remaining,
    );
  }
}

/**
 * Removes messages from the page. If a removed message has the focus, the focus moves to its list.
 * A few messages collapse first if `isAnimated`.
 * @param {MessageView[]} views
 */
export function removeViews(views, isAnimated = true) {
  const elements = views.map(({ element }) => element);
  const focused = elements.find((element) => element.contains(document.activeElement));
  if (focused) {
    const list = /** @type {HTMLElement | null} */ (focused.closest('[tabindex]'));
    list?.focus({ preventScroll: true });
  }
  const isMoving = isAnimated && !reducedMotion.matches && !document.hidden;
  if (!isMoving || elements.length > ANIMATED_MAX) {
    for (const element of elements) element.remove();
    return;
  }
  // All sizes are read before the first change, because each change invalidates the layout.
  const heights = elements.map((element) => element.offsetHeight);
  for (const [index, element] of elements.entries()) {
    const from = { height: `${heights[index]}px` };
    const to = { height: 0, marginBlock: 0, paddingBlock: 0, borderWidth: 0 };
    element.classList.add('collapsing');
    element.animate([from, to], { duration: COLLAPSE_MS, easing: 'ease-in', fill: 'forwards' });
    setTimeout(() => element.remove(), COLLAPSE_MS);
  }
}

/** @param {Message} message */
function createBody({ text, data }) {
  const parts = [];
  if (text != null) {
    const element = createElement('p', { className: 'text', dir: 'auto' });
    parts.push(...showCollapsible(element, text, text));
  }
  if (data != null) {
    const json = JSON.stringify(data, null, 1).replace(/\n\s*/g, ' ');
    const element = createElement('pre', { className: 'data' });
    parts.push(...showCollapsible(element, json, json.slice(0, COLLAPSED_CHARS_MAX)));
  }
  return parts;
}

/**
 * Shows a text in an element. A long text is collapsed and has a button to expand it.
 * @param {HTMLElement} element
 * @param {string} text
 * @param {string} collapsedText
 */
function showCollapsible(element, text, collapsedText) {
  element.textContent = collapsedText;
  const isLong = text.length > LONG_CHARS || text.split('\n', LONG_LINES + 1).length > LONG_LINES;
  if (!isLong) return [element];
  element.classList.add('collapsed');
  const button = createElement('button', {
    type: 'button',
    className: 'expand',
    textContent: 'Show more',
    ariaExpanded: 'false',
  });
  button.addEventListener('click', () => {
    const isCollapsed = element.classList.toggle('collapsed');
    setText(element, isCollapsed ? collapsedText : text);
    button.textContent = isCollapsed ? 'Show more' : 'Show less';
    button.ariaExpanded = String(!isCollapsed);
  });
  return [element, button];
}
