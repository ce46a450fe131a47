/**
 * Sends heartbeats while the page is visible, so that the page appears among its own trending
 * pages.
 */

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

  /** @param {{ urls: Promise<import('./api.js').ServiceUrls> }} options */
  constructor({ urls }) {
    this.#urls = urls;
    save('visitor', this.#visitor);
    setInterval(() => this.#send(), INTERVAL_MS);
    document.addEventListener('visibilitychange', () => this.#send());
    this.#send();
  }

  /** Sends a heartbeat. Failures are ignored, because nothing else depends on heartbeats. */
  async #send() {
    if (document.hidden || performance.now() - this.#sentAt < INTERVAL_MS / 2) return;
    this.#sentAt = performance.now();
    const { ingest_url } = await this.#urls;
    const visit = {
      host: pageHost,
      path: location.pathname,
      title: document.title,
      visitor: this.#visitor,
    };
    await fetch(`${ingest_url}/v1/visits`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(visit),
      signal: AbortSignal.timeout(INTERVAL_MS),
    }).catch(() => {});
  }
}
