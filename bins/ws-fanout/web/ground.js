/** What the panels stand on: elements, errors at fields, the memory of this tab, requests, words for numbers. */

export const at = (id) => document.getElementById(id);

/** Makes an element. What was typed by people comes in as text and stays text. */
export function make(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  const { data, ...properties } = options;
  Object.assign(element, properties);
  Object.assign(element.dataset, data);
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Text whose direction is its own, whatever stands around it. */
export const apart = (text, className = '') => make('bdi', { className, textContent: text, dir: 'auto' });

/** Shows what is wrong with a field, below it; an empty text takes it away. */
export function showError(field, text) {
  const place = at(`${field.id}-error`);
  place.textContent = text;
  place.hidden = !text;
  if (text) field.setAttribute('aria-invalid', 'true');
  else field.removeAttribute('aria-invalid');
}

/** The memory of this tab. Where a browser allows none, it is that of the page. */
const unkept = new Map();

export function recall(name) {
  try {
    return sessionStorage.getItem(`mayfly.${name}`);
  } catch {
    return unkept.get(name) ?? null;
  }
}

export function remember(name, value) {
  try {
    sessionStorage.setItem(`mayfly.${name}`, value);
  } catch {
    unkept.set(name, value);
  }
}

/** Sends a request; gives the answer's JSON, or fails with a `Refused`. */
export async function ask(url, options) {
  let answer;
  try {
    answer = await fetch(url, { ...options, signal: AbortSignal.timeout(15_000) });
  } catch (error) {
    throw new Refused(error.name === 'TimeoutError' ? 'There was no answer in 15 seconds.' : 'The service cannot be reached.');
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok) return body;
  const later = answer.headers.get('Retry-After');
  const detail = body?.detail || body?.title || `The service answered ${answer.status}.`;
  throw new Refused(later ? `${detail} Try again in ${later} s.` : detail, body?.errors ?? []);
}

/** A request that was not granted: why, and which fields are wrong. */
export class Refused extends Error {
  constructor(message, errors = []) {
    super(message);
    this.errors = errors;
  }
}

/** A span of time in the largest unit that says enough: 48 s, 12 min, 3 h, 2 days. */
export function span(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

const SPANS = [
  { unit: 'ms', ms: 1, most: 1000 },
  { unit: 's', ms: 1000, most: 60 },
  { unit: 'min', ms: 60_000, most: 60 },
  { unit: 'h', ms: 3_600_000, most: 48 },
  { unit: 'days', ms: 86_400_000, most: Infinity },
];

/** A span of time that was measured, in the unit that says most: 0.4 ms, 12 ms, 1.2 s, 2 min. */
export function lasting(measured) {
  if (!Number.isFinite(measured)) return '–';
  const round = (value) => Number(value.toFixed(value < 9.95 ? 1 : 0));
  const { unit, ms } = SPANS.find(({ ms, most }) => round(measured / ms) < most);
  return `${number(round(measured / ms))} ${unit}`;
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

/** The time of day, with the date where it is pointed at. */
export function moment(time) {
  const date = new Date(time);
  return make('time', { dateTime: date.toISOString(), title: calendar.format(date), textContent: clock.format(date) });
}

export const number = (value) => (Number.isFinite(value) ? value.toLocaleString() : '–');

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

/**
 * Gives a function that asks for drawing, as often as it likes: it is drawn in an animation frame, and no more often
 * than this. A hidden page is given no frames, and is drawn when it is looked at.
 */
export function painter(draw, pauseMs = 0) {
  let asked = false;
  let drawnAt = -Infinity;
  const wait = () =>
    requestAnimationFrame(() => {
      asked = false;
      drawnAt = performance.now();
      draw();
    });
  return () => {
    if (asked) return;
    asked = true;
    const pause = drawnAt + pauseMs - performance.now();
    if (pause > 0) setTimeout(wait, pause);
    else wait();
  };
}
