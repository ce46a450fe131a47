/**
 * The messages of the feed, without their elements. The number of messages is bounded, and adding
 * one takes constant time, so that any rate of messages can be received.
 */

/** @import { Message } from '../../mayfly.js' */

/** The maximum number of displayed messages. The oldest messages are dropped. */
export const MESSAGES_MAX = 200;
/** How long the last message posted on this page stays near the top. */
const PIN_MS = 10_000;
/** A pinned message is moved to the top when more than this many messages are above it. */
const PIN_INDEX_MAX = 2;

/**
 * A message of the feed. `expiresAt` and `removeAt` are times of `Clock.elapsed`.
 * @typedef {{
 *   message: Message, order: number, sequence: number, isOwn: boolean,
 *   state: 'live' | 'expired' | 'removed', expiresAt: number, removeAt: number,
 * }} Entry
 */

/** @typedef {Pick<Entry, 'order' | 'expiresAt'> & Partial<Entry>} EntryOptions */

export class MessageList {
  /** The displayed entries, newest first. `merge` adds the new entries.
   * @type {Entry[]} */
  #entries = [];
  /** @type {Map<string, Entry>} */
  #new = new Map();
  /** All entries by ID.
   * @type {Map<string, Entry>} */
  #byId = new Map();
  #newCount = 0;
  #sequence = 0;
  #hasDropped = false;
  #pinnedId = '';
  #pinnedUntil = 0;

  get entries() {
    return this.#entries;
  }

  /** The number of messages added since the last `merge`, including dropped messages. */
  get newCount() {
    return this.#newCount;
  }

  /** Whether messages that may still be live were dropped. */
  get isTruncated() {
    return this.#hasDropped;
  }

  /** @param {string} id */
  get(id) {
    return this.#byId.get(id);
  }

  /** Returns all entries, in no particular order. */
  all() {
    return this.#byId.values();
  }

  /**
   * Adds a message that is not in the list. `order` is the time by which messages are sorted, in
   * milliseconds.
   * @param {Message} message
   * @param {EntryOptions} options
   */
  add(message, options) {
    /** @type {Entry} */
    const entry = {
      ...{ message, sequence: ++this.#sequence, isOwn: false, state: 'live' },
      ...{ removeAt: Infinity, ...options },
    };
    this.#byId.set(message.id, entry);
    this.#new.set(message.id, entry);
    this.#newCount += 1;
    if (this.#new.size > 2 * MESSAGES_MAX) this.#dropOldestNew();
    return entry;
  }

  /**
   * Keeps a message near the top for a few seconds, regardless of the number of newer messages.
   * @param {string} id
   */
  pin(id) {
    this.#pinnedId = id;
    this.#pinnedUntil = performance.now() + PIN_MS;
  }

  /** Displays the new entries. */
  merge() {
    const merged = [...this.#entries, ...this.#new.values()].sort(compareNewest);
    this.#new.clear();
    this.#newCount = 0;
    const index = merged.findIndex(({ message }) => message.id === this.#pinnedId);
    if (index > PIN_INDEX_MAX && performance.now() < this.#pinnedUntil) {
      merged.unshift(...merged.splice(index, 1));
    }
    this.#drop(merged.splice(MESSAGES_MAX));
    this.#entries = merged;
  }

  /** @param {Entry[]} entries */
  remove(entries) {
    if (entries.length === 0) return;
    let isMerged = false;
    for (const { message } of entries) {
      this.#byId.delete(message.id);
      if (!this.#new.delete(message.id)) isMerged = true;
      else this.#newCount = Math.max(this.#new.size, this.#newCount - 1);
    }
    if (this.#byId.size < MESSAGES_MAX) this.#hasDropped = false;
    if (!isMerged) return;
    this.#entries = this.#entries.filter(({ message }) => this.#byId.has(message.id));
  }

  #dropOldestNew() {
    const sorted = [...this.#new.values()].sort(compareNewest);
    const dropped = sorted.splice(MESSAGES_MAX);
    for (const { message } of dropped) this.#new.delete(message.id);
    this.#drop(dropped);
  }

  /** @param {Entry[]} entries */
  #drop(entries) {
    for (const { message } of entries) this.#byId.delete(message.id);
    this.#hasDropped ||= entries.length > 0;
  }
}

/**
 * Orders entries by time, newest first.
 * @param {Entry} a
 * @param {Entry} b
 */
export const compareNewest = (a, b) => b.order - a.order || b.sequence - a.sequence;
