/** The event listeners. */

import { createError, report } from './errors.js';
import { FEEDS } from './names.js';

/** @import { Events } from '../mayfly.js' */

const EVENTS = ['message', 'expired', 'gap', 'resumed', 'state', 'error', ...FEEDS.slice(1)];

export class Listeners {
  /** @type {Map<string, Set<{ listener: Function }>>} */
  #entries = new Map();

  /**
   * Adds a listener and returns a function that removes it.
   * @template {keyof Events} E
   * @param {E} event
   * @param {Events[E]} listener
   */
  add(event, listener) {
    if (!EVENTS.includes(event)) {
      throw createError(TypeError, `unknown event: ${event}; expected one of ${EVENTS.join(', ')}`);
    }
    if (typeof listener !== 'function') {
      throw createError(TypeError, `the listener for ${event} must be a function`);
    }
    const entries = this.#entries.get(event) ?? new Set();
    // Two callers can add the same function; each removes only its own entry.
    const entry = { listener };
    this.#entries.set(event, entries.add(entry));
    return () => void entries.delete(entry);
  }

  /**
   * Calls all listeners for an event. A listener that throws affects neither the other listeners
   * nor the connection.
   * @param {string} event
   * @param {unknown[]} details
   */
  emit(event, ...details) {
    const entries = this.#entries.get(event) ?? new Set();
    for (const entry of [...entries]) {
      if (!entries.has(entry)) continue;
      const { listener } = entry;
      try {
        const result = listener(...details);
        if (result instanceof Promise) result.catch(report);
      } catch (error) {
        report(error);
      }
    }
  }
}
