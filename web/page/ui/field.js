/** Errors of form fields, as sentences below their fields. */

import { byId } from './dom.js';

/**
 * Shows an error below a field. An empty text removes the error.
 * @param {Element} field
 * @param {string} text
 */
export function showFieldError(field, text) {
  const error = byId(`${field.id}-error`);
  error.textContent = text;
  error.hidden = !text;
  if (text) field.setAttribute('aria-invalid', 'true');
  else field.removeAttribute('aria-invalid');
}

/**
 * Returns a sentence from the name of a field and a rule of the API, which follows the name: "Time
 * to live must be a whole number of seconds."
 * @param {string} name
 * @param {string} rule
 */
export function describeFieldError(name, rule) {
  const sentence = `${name.charAt(0).toUpperCase()}${name.slice(1)} ${rule}`.trim();
  // A period after a list of symbols would look like one of the symbols.
  return /[\p{L}\p{N})”]$/u.test(sentence) ? `${sentence}.` : sentence;
}

/**
 * Returns the label of a field, without the hints in it.
 * @param {HTMLInputElement} field
 */
export const labelOf = (field) => field.labels?.[0]?.firstChild?.textContent?.trim() ?? field.name;
