/** Elements and scheduled drawing. */

import { formatDateTime, formatTime } from './format.js';

/** The share of the main thread's time that the frames of one `throttleDraw` may use. */
const MAIN_THREAD_SHARE = 0.2;
/** A longer frame delays the next frame only as much as a frame of this duration. */
const FRAME_MAX_MS = 400;

/**
 * Returns the element with an ID, which must exist.
 * @param {string} id
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element has the ID ${id}`);
  return element;
}

/**
 * Returns the form control with an ID: an input, a select or a text area.
 * @param {string} id
 */
export const inputById = (id) => /** @type {HTMLInputElement} */ (byId(id));

/**
 * Creates an element. User input is passed as text and never parsed as HTML.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Partial<HTMLElementTagNameMap[T]> & { data?: DOMStringMap }} [options]
 * @param {(Node | string | null)[]} children
 */
export function createElement(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  const { data, ...properties } = options;
  Object.assign(element, properties);
  Object.assign(element.dataset, data);
  element.append(...children.filter((child) => child !== null));
  return element;
}

/**
 * Creates an SVG element.
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number>} attributes
 * @param {(Node | string)[]} children
 */
export function createSvg(tag, attributes, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  element.append(...children);
  setAttributes(element, attributes);
  return element;
}

/**
 * @param {Element} element
 * @param {Record<string, string | number>} attributes
 */
export function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
}

/**
 * Creates text with its own direction, isolated from the surrounding text.
 * @param {string} text
 */
export const isolate = (text, className = '') =>
  createElement('bdi', { className, textContent: text, dir: 'auto' });

/**
 * Sets the text of an element only if it differs, because a write invalidates the layout.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Creates a time of day, with the date as its tooltip. An invalid time is a dash.
 * @param {number | string} time
 */
export function createTime(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return createElement('time', { textContent: '–' });
  return createElement('time', {
    dateTime: date.toISOString(),
    title: formatDateTime(date),
    textContent: formatTime(date),
  });
}

/**
 * Puts the children of an element into this order. A child that is already in place is not moved.
 * @param {Element} parent
 * @param {Element[]} children
 */
export function reorderChildren(parent, children) {
  const kept = new Set(children);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const child of children) {
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
}

/**
 * Returns a function that requests a call of `draw`. The call happens in an animation frame, at
 * least `intervalMs` after the previous call. The interval is longer if frames take long, so that
 * drawing leaves most of the main thread to input. A hidden page has no frames and is drawn when it
 * becomes visible.
 * @param {() => void} draw
 */
export function throttleDraw(draw, intervalMs = 0) {
  let isRequested = false;
  let nextAt = -Infinity;
  const requestFrame = () =>
    requestAnimationFrame(() => {
      isRequested = false;
      const startedAt = performance.now();
      nextAt = startedAt + intervalMs;
      // This timer fires after the frame, which includes style, layout and painting.
      setTimeout(() => {
        const ms = Math.min(performance.now() - startedAt, FRAME_MAX_MS);
        nextAt = Math.max(nextAt, startedAt + ms / MAIN_THREAD_SHARE);
      });
      draw();
    });
  return () => {
    if (isRequested) return;
    isRequested = true;
    const delay = nextAt - performance.now();
    if (delay > 0) setTimeout(requestFrame, delay);
    else requestFrame();
  };
}
