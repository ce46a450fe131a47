/** A message on the page, in the feed or in an inbox. */

import { createElement, createTime, isolate } from './dom.js';
import { formatRemaining } from './format.js';

/** @import { Message } from '../../mayfly.js' */

/** A message fades at the end of its lifetime: for half of it, at most this long. */
const FADE_MAX_MS = 15_000;
/** Longer texts are collapsed. */
const LONG_CHARS = 600;
const LONG_LINES = 10;
/** How long a message that has already expired is shown. */
const EXPIRED_VISIBLE_MS = 2500;
/** How long the reason for a removal is shown, and the duration of the animation after it. */
const REASON_VISIBLE_MS = 1600;
const COLLAPSE_MS = 260;

const reducedMotion = matchMedia('(prefers-reduced-motion: reduce)');

export class MessageView {
  element;
  message;
  expiresAt;
  /** When to remove the message. One that has already expired is shown for a moment. */
  removeAt;
  #remaining = createElement('span', { className: 'remaining' });
  #isRemoved = false;

  /**
   * @param {Message} message
   * @param {number} now
   */
  constructor(message, now) {
    this.message = message;
    this.expiresAt = Date.parse(message.expires_at);
    this.removeAt = this.expiresAt > now ? this.expiresAt : now + EXPIRED_VISIBLE_MS;
    this.element = createElement(
      'li',
      { className: 'message', data: { id: message.id, created: message.created_at } },
      this.#createHeader(),
      ...createBody(message),
      createElement('div', { className: 'lifetime' }),
    );
    this.#setLifetime(now);
    this.updateRemaining(now);
    if (this.expiresAt <= now) {
      this.element.classList.add('expired');
      this.#remaining.textContent = 'expired';
    }
  }

  /** Whether the message was removed from the page, or is being removed. */
  get isRemoved() {
    return this.#isRemoved;
  }

  /** @param {number} now */
  updateRemaining(now) {
    if (this.#isRemoved || this.expiresAt <= now) return;
    this.#remaining.textContent = formatRemaining(this.expiresAt - now);
  }

  /** Removes the message from the page. A reason is shown for a moment first. */
  remove(reason = '') {
    if (this.#isRemoved) return;
    this.#isRemoved = true;
    this.#remaining.textContent = reason;
    if (reason) this.element.classList.add('removed');
    setTimeout(() => this.#collapse(), reason ? REASON_VISIBLE_MS : 0);
  }

  #collapse() {
    const { element } = this;
    if (element.contains(document.activeElement)) {
      /** @type {HTMLElement | null} */ (element.closest('[tabindex]'))?.focus();
    }
    if (reducedMotion.matches || document.hidden) return element.remove();
    const { opacity } = getComputedStyle(element);
    const from = { height: `${element.offsetHeight}px`, opacity };
    const to = { height: 0, opacity: 0, marginBlock: 0, paddingBlock: 0, borderWidth: 0 };
    element.classList.add('collapsing');
    element.animate([from, to], { duration: COLLAPSE_MS, easing: 'ease-in', fill: 'forwards' });
    setTimeout(() => element.remove(), COLLAPSE_MS);
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

  /**
   * Starts the CSS animations of the lifetime bar and of the fading text at the age of the message.
   * @param {number} now
   */
  #setLifetime(now) {
    const lifetime = Math.max(1, this.expiresAt - Date.parse(this.message.created_at));
    const fade = Math.min(FADE_MAX_MS, lifetime / 2);
    const { style } = this.element;
    style.setProperty('--lifetime', `${lifetime}ms`);
    style.setProperty('--lifetime-delay', `${Math.round(this.expiresAt - lifetime - now)}ms`);
    style.setProperty('--fade', `${fade}ms`);
    style.setProperty('--fade-delay', `${Math.round(this.expiresAt - fade - now)}ms`);
  }
}

/** @param {Message} message */
function createBody({ text, data }) {
  const parts = [];
  if (text != null) {
    const element = createElement('p', { className: 'text', dir: 'auto', textContent: text });
    parts.push(...makeCollapsible(element, text));
  }
  if (data != null) {
    const json = JSON.stringify(data, null, 1).replace(/\n\s*/g, ' ');
    const element = createElement('pre', { className: 'data', textContent: json });
    parts.push(...makeCollapsible(element, json));
  }
  return parts;
}

/**
 * Collapses an element with a long text and adds a button to expand it.
 * @param {HTMLElement} element
 * @param {string} text
 */
function makeCollapsible(element, text) {
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
    button.textContent = isCollapsed ? 'Show more' : 'Show less';
    button.ariaExpanded = String(!isCollapsed);
  });
  return [element, button];
}
