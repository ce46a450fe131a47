/** One message as it is shown: in the feed and in an inbox. */

import { apart, make, moment, span } from './ground.js';

/** A message fades during the last part of its life, at most so long. */
const FADE_MS_MAX = 15_000;
/** What would fill more than a screen is folded. */
const LONG_CHARS = 600;
const LONG_LINES = 10;
const GLIMPSE_MS = 2500;
/** How long the reason of an untimely end stays readable, and how long the closing of the gap takes. */
const REASON_MS = 1600;
const CLOSING_MS = 260;

const still = matchMedia('(prefers-reduced-motion: reduce)');

/** A message on the page: its element, and what becomes of it. */
export class Shown {
  element;
  message;
  endsAt;
  /** What is over when it comes stays readable for a moment. */
  leavesAt;
  #left = make('span', { className: 'left' });
  #ending = false;

  constructor(message, now) {
    this.message = message;
    this.endsAt = Date.parse(message.expires_at);
    this.leavesAt = this.endsAt > now ? this.endsAt : now + GLIMPSE_MS;
    this.element = make('li', { className: 'message', data: { id: message.id, created: message.created_at } });
    this.element.append(this.#head(), ...body(message), make('div', { className: 'life' }));
    this.#age(now);
    this.tell(now);
    if (this.endsAt <= now) {
      this.element.classList.add('over');
      this.#left.textContent = 'over';
    }
  }

  /** It leaves, or has left, the page. */
  get ending() {
    return this.#ending;
  }

  /** Says how much of its life is left. */
  tell(now) {
    if (!this.#ending && this.endsAt > now) this.#left.textContent = span(this.endsAt - now);
  }

  /** Takes it off the page. A reason that is not its age is shown for a moment before. */
  leave(reason = '') {
    if (this.#ending) return;
    this.#ending = true;
    this.#left.textContent = reason;
    if (reason) this.element.classList.add('taken');
    setTimeout(() => this.#close(), reason ? REASON_MS : 0);
  }

  #close() {
    const { element } = this;
    if (element.contains(document.activeElement)) element.closest('[tabindex]')?.focus();
    if (still.matches || document.hidden) return element.remove();
    const from = { height: `${element.offsetHeight}px`, opacity: getComputedStyle(element).opacity };
    const to = { height: 0, opacity: 0, marginBlock: 0, paddingBlock: 0, borderWidth: 0 };
    element.classList.add('closing');
    element.animate([from, to], { duration: CLOSING_MS, easing: 'ease-in', fill: 'forwards' });
    setTimeout(() => element.remove(), CLOSING_MS);
  }

  #head() {
    const { username, city, state, channel, created_at } = this.message;
    const place = [city, state].filter(Boolean).flatMap((part, n) => [n ? ', ' : '', apart(part)]);
    return make(
      'div',
      { className: 'head' },
      username == null ? make('span', { className: 'name none', textContent: 'no name' }) : apart(username, 'name'),
      place.length ? make('span', { className: 'place' }, ...place) : null,
      make('span', { className: 'channel', textContent: channel }),
      moment(created_at),
      this.#left,
    );
  }

  /** Lets the bar run down and the text fade by the style sheet alone, from how old the message is now. */
  #age(now) {
    const life = Math.max(1, this.endsAt - Date.parse(this.message.created_at));
    const fade = Math.min(FADE_MS_MAX, life / 2);
    const { style } = this.element;
    style.setProperty('--life', `${life}ms`);
    style.setProperty('--aged', `${Math.round(this.endsAt - life - now)}ms`);
    style.setProperty('--fade', `${fade}ms`);
    style.setProperty('--fades', `${Math.round(this.endsAt - fade - now)}ms`);
  }
}

function body({ text, data }) {
  const parts = [];
  if (text != null) parts.push(...fold(make('p', { className: 'text', dir: 'auto', textContent: text }), text));
  if (data != null) {
    const json = JSON.stringify(data, null, 1).replace(/\n\s*/g, ' ');
    parts.push(...fold(make('pre', { className: 'data', textContent: json }), json));
  }
  return parts;
}

/** Folds what is long, with a button to unfold it. */
function fold(element, text) {
  if (text.length <= LONG_CHARS && text.split('\n', LONG_LINES + 1).length <= LONG_LINES) return [element];
  element.classList.add('folded');
  const button = make('button', { type: 'button', className: 'unfold', textContent: 'Show all', ariaExpanded: 'false' });
  button.addEventListener('click', () => {
    const folded = element.classList.toggle('folded');
    button.textContent = folded ? 'Show all' : 'Show less';
    button.ariaExpanded = String(!folded);
  });
  return [element, button];
}
