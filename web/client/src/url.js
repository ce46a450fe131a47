/** Parses the URL of the server. */

import { createError } from './errors.js';

const RULE = 'expected http(s):// or ws(s):// with a host, or a path on a page of the server';

/**
 * Returns the URL of the WebSocket. The query contains only `connect=frame`. The client sends
 * everything else in frames, which are not subject to URL length limits and do not appear in access
 * logs.
 * @param {string | { href: string } | null} [given]
 */
export function parseUrl(given) {
  const text = String((typeof given === 'object' ? given?.href : given) ?? '');
  /** @param {string} rule */
  const invalid = (rule) => createError(TypeError, `invalid url: ${text || '(none)'}: ${rule}`);
  const isPath = /^\/|^$/.test(text);
  // Without a scheme or a leading slash, a host name would be resolved as a relative path.
  if (!isPath && !/^(http|ws)s?:\/\//i.test(text)) throw invalid(RULE);
  let url;
  try {
    url = new URL(text || '/', isPath ? globalThis.location?.origin : undefined);
  } catch {
    throw invalid(RULE);
  }
  url.protocol = url.protocol.replace('http', 'ws');
  if (!/^wss?:$/.test(url.protocol)) throw invalid(RULE);
  if (url.search) throw invalid('it must have no query; use the other options');
  if (url.pathname === '/') url.pathname = '/v1/live';
  url.hash = '';
  url.search = 'connect=frame';
  return url.href;
}
