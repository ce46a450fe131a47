/**
 * The API key or token of this tab. It is kept in session storage only, which other tabs cannot
 * read and which is discarded when the tab is closed.
 */

import { load, remove, save } from './storage.js';

const NAME = 'credentials';
/** The maximum length of a token. */
const CHARS_MAX = 8192;

/** Returns the API key or token, or null if there is none. */
export const loadCredentials = () => load(NAME);

/**
 * Saves an API key or token. Returns false if the text can be neither.
 * @param {string} text
 */
export function saveCredentials(text) {
  const value = text.trim();
  if (!/^[!-~]+$/.test(value) || value.length > CHARS_MAX) return false;
  save(NAME, value);
  return true;
}

export const removeCredentials = () => remove(NAME);

/**
 * Returns the headers of a request with the given headers and credentials.
 * @param {HeadersInit | undefined} given
 * @param {string | null} credentials
 */
export function createHeaders(given, credentials) {
  const headers = new Headers(given);
  if (credentials !== null) headers.set('Authorization', `Bearer ${credentials}`);
  return headers;
}
