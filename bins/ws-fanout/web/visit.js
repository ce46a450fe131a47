/** A visit of this page itself: a heartbeat while somebody looks at it, so that it is among the pages that it shows. */

import { recall, remember } from './ground.js';

/** A visitor counts for 30 seconds after a heartbeat, if the server is not set up otherwise. */
const BEAT_MS = 15_000;

/** The host of this page as the server takes it: an address of IPv6 without its brackets. */
export const here = location.host.replace(/[[\]]/g, '').toLowerCase();

export class Visit {
  #where;
  #visitor = recall('visitor') ?? draw();
  #beatAt = -Infinity;

  constructor({ where }) {
    this.#where = where;
    remember('visitor', this.#visitor);
    setInterval(() => this.#beat(), BEAT_MS);
    document.addEventListener('visibilitychange', () => this.#beat());
    this.#beat();
  }

  /** Nothing on the page depends on it: where it is not taken, nobody is told. */
  async #beat() {
    if (document.hidden || performance.now() - this.#beatAt < BEAT_MS / 2) return;
    this.#beatAt = performance.now();
    const { ingest_url } = await this.#where;
    const visit = { host: here, path: location.pathname, title: document.title, visitor: this.#visitor };
    const headers = { 'Content-Type': 'application/json' };
    const asked = { method: 'POST', headers, body: JSON.stringify(visit), signal: AbortSignal.timeout(BEAT_MS) };
    await fetch(`${ingest_url}/v1/visits`, asked).catch(() => {});
  }
}

/** Who this tab is: nobody but the count of visitors learns of it. Pages of plain HTTP have no `randomUUID`. */
function draw() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
