/**
 * Sends heartbeats while the page is visible, so that the page appears among its own trending
 * pages.
 */

import { createHeaders, loadCredentials } from './credentials.js';
import { createRandomId } from './random.js';
import { load, save } from './storage.js';

/** By default, a visitor counts for 30 seconds after a heartbeat. */
const INTERVAL_MS = 15_000;

/** The host of this page in the form of the API: IPv6 addresses have no brackets. */
export const pageHost = location.host.replace(/[[\]]/g, '').toLowerCase();

export class Heartbeat {
  #urls;
  /** The ID of this tab. */
  #visitor = load('visitor') ?? createRandomId();
  #sentAt = -Infinity;
  /** The credentials without the right to send heartbeats.
   * @type {string | null | undefined} */
  #rejected;

  /** @param {{ urls: Promise<import('./api.js').ServiceUrls> }} options */
  constructor({ urls }) {
    this.#urls = urls;
    save('visitor', this.#visitor);
    setInterval(() => this.#send(), INTERVAL_MS);
    document.addEventListener('visibilitychange', () => this.#send());
    this.#send();
  }

  /**
   * Sends a heartbeat. Failures are ignored, because nothing else depends on heartbeats. If the
   * service rejects the credentials, the next heartbeat is sent with other ones.
   */
  async #send() {
    const credentials = loadCredentials();
    if (document.hidden || credentials === this.#rejected) return;
    if (performance.now() - this.#sentAt < INTERVAL_MS / 2) return;
    this.#sentAt = performance.now();
    const { ingest_url } = await this.#urls;
    const visit = {
      host: pageHost,
      path: location.pathname,
      title: document.title,
      visitor: this.#visitor,
    };
    const response = await fetch(`${ingest_url}/v1/visits`, {
      method: 'POST',
      headers: createHeaders({ 'Content-Type': 'application/json' }, credentials),
      body: JSON.stringify(visit),
      signal: AbortSignal.timeout(INTERVAL_MS),
    }).catch(() => null);
    if (response?.status === 401 || response?.status === 403) this.#rejected = credentials;
  }
}
