/** The names that callers subscribed to. */

import { createError } from './errors.js';
import { KINDS } from './names.js';

/** @import { Kind, NameLists } from './names.js' */
/** @import { Selection } from './selection.js' */

/** The server's limit on the number of names of each kind. */
const NAMES_MAX = 128;

/** Reference counts for names, so that callers do not affect each other. */
export class Subscriptions {
  /** @type {{ [kind in Kind]: Map<string, number> }} */
  #counts = { channels: new Map(), videos: new Map(), hosts: new Map(), feeds: new Map() };
  /** The kinds for which `connect` received a list or a later call to `subscribe` received at least
   * one name. Also contains `channels` after a call that unsubscribes from `*`. The client
   * subscribes to all channels until this set contains `channels`, and to all videos until the set
   * contains `videos`.
   * @type {Set<Kind>} */
  #named;
  /** The kinds that were named only by calls that the server has not accepted yet.
   * @type {Set<Kind>} */
  #unconfirmed = new Set();
  /** @type {Selection} */
  #selection;

  /** @param {NameLists} names */
  constructor(names) {
    this.#named = new Set(KINDS.filter((kind) => names[kind]));
    this.#selection = this.#select();
    this.check(names);
    this.add({ feeds: ['messages'], ...names });
  }

  /** The selection that the server should use. */
  get selection() {
    return this.#selection;
  }

  /**
   * Throws if the server would not accept these names in addition to the current ones.
   * @param {NameLists} names
   */
  check(names) {
    for (const kind of KINDS) {
      const all = new Set([...this.#counts[kind].keys(), ...(names[kind] ?? [])]);
      all.delete('*');
      if (all.size <= NAMES_MAX) continue;
      throw createError(RangeError, `at most ${NAMES_MAX} ${kind}`, 'too_many_channels');
    }
    if (names.feeds?.includes('rising') && !names.hosts && !this.#named.has('hosts')) {
      throw createError(TypeError, 'the rising feed requires hosts');
    }
  }

  /**
   * Returns the error with which the server would refuse to remove names. Returns null if it would
   * accept the call.
   * @param {NameLists} names
   */
  findRefusal({ channels, videos }) {
    if (channels?.length && !channels.includes('*') && !this.#named.has('channels')) {
      const rule =
        'cannot be removed from a subscription to all channels; ' +
        'unsubscribe from *, then subscribe to the channels to keep';
      return createError(Error, `${channels} ${rule}`);
    }
    if (videos?.length && !this.#named.has('videos')) {
      return createError(Error, `${videos} cannot be removed from a subscription to all videos`);
    }
    return null;
  }

  /** @param {NameLists} names */
  add(names) {
    for (const kind of KINDS) {
      if (!names[kind]?.length || this.#named.has(kind)) continue;
      this.#named.add(kind);
      this.#unconfirmed.add(kind);
    }
    this.#count(names, 1);
  }

  /**
   * Records that the server has accepted names.
   * @param {NameLists} names
   */
  confirm(names) {
    for (const kind of KINDS) if (names[kind]?.length) this.#unconfirmed.delete(kind);
  }

  /**
   * Undoes `add`.
   * @param {NameLists} names
   */
  undo(names) {
    this.#count(names, -1);
    for (const kind of this.#unconfirmed) {
      if (this.#counts[kind].size) continue;
      this.#unconfirmed.delete(kind);
      this.#named.delete(kind);
    }
    this.#selection = this.#select();
  }

  /** @param {NameLists} names */
  remove(names) {
    // Unsubscribing from `*` also ends the default of all channels.
    if (names.channels?.includes('*')) this.#named.add('channels');
    this.#count(names, -1);
  }

  /**
   * Removes names that the credentials do not allow, whatever their counts.
   * @param {NameLists} names
   */
  drop(names) {
    this.#count(names, -Infinity);
  }

  /**
   * @param {NameLists} names
   * @param {number} change
   */
  #count(names, change) {
    for (const kind of KINDS) {
      const counts = this.#counts[kind];
      for (const name of new Set(names[kind])) {
        const count = (counts.get(name) ?? 0) + change;
        if (count > 0) counts.set(name, count);
        else counts.delete(name);
      }
    }
    this.#selection = this.#select();
  }

  /** @returns {Selection} */
  #select() {
    const [channels, videos, hosts, feeds] = KINDS.map(
      (kind) => new Set(this.#counts[kind].keys()),
    );
    // An empty list of videos in a `connect` frame means all videos, so the feed `plays` is removed
    // instead. The feed `rising` requires a host.
    const hasAllVideos = !this.#named.has('videos');
    if (!hasAllVideos && !videos.size) feeds.delete('plays');
    if (!hosts.size) feeds.delete('rising');
    const isDefault = !this.#named.has('channels');
    const hasAll = isDefault || channels.has('*');
    return { channels: hasAll ? null : channels, isDefault, hasAllVideos, videos, hosts, feeds };
  }
}
