/** A selection: the names that a connection subscribes to. */

import { KINDS, countBytes } from './names.js';

/** @import { Kind, NameLists } from './names.js' */

/**
 * `channels: null` means all channels, and an empty `videos` means all videos if `hasAllVideos` is
 * true. `isDefault` is true if all channels are selected because the caller named none.
 * @typedef {{
 *   channels: Set<string> | null, isDefault: boolean, hasAllVideos: boolean,
 *   videos: Set<string>, hosts: Set<string>, feeds: Set<string>,
 * }} Selection
 */
/** @typedef {{ type: 'subscribe' | 'unsubscribe', names: NameLists }} Change */

/**
 * The maximum total size of the names in a frame, in bytes. The server accepts frames of up to
 * 4 KiB. The rest is reserved for the JSON around the names.
 */
const NAMES_BYTES_MAX = 3900;

/**
 * Returns the frames that change one selection into another.
 * @param {Selection} from
 * @param {Selection} to
 * @returns {Change[]}
 */
export function findChanges(from, to) {
  /** @type {NameLists} */
  const added = {};
  /** @type {NameLists} */
  const removed = {};
  for (const kind of KINDS) {
    const [before, after] = [from[kind], to[kind]];
    added[kind] = [...(after ?? [])].filter((name) => !before?.has(name));
    removed[kind] = [...((after && before) ?? [])].filter((name) => !after?.has(name));
  }
  if (from.channels && !to.channels) added.channels = ['*'];
  // The first named channels replace the default of all channels, so no `unsubscribe` is needed.
  if (!from.channels && to.channels && !(from.isDefault && to.channels.size)) {
    removed.channels = ['*'];
  }
  return [
    // Channels and videos are removed first, because the server limits the number of names.
    ...splitNames('unsubscribe', removed, ['channels', 'videos']),
    // Hosts are added before feeds and removed after them, because `rising` always requires a host.
    ...splitNames('subscribe', added, ['channels', 'videos', 'hosts', 'feeds']),
    ...splitNames('unsubscribe', removed, ['feeds', 'hosts']),
  ];
}

/**
 * Splits names into changes that each fit into one frame.
 * @param {Change['type']} type
 * @param {NameLists} names
 * @param {readonly Kind[]} kinds
 */
function splitNames(type, names, kinds) {
  /** @type {Change[]} */
  const changes = [];
  /** @type {NameLists} */
  let part = {};
  let bytes = Infinity;
  for (const kind of kinds) {
    for (const name of names[kind] ?? []) {
      const size = countBytes(name);
      if (bytes + size > NAMES_BYTES_MAX) {
        part = {};
        bytes = 0;
        changes.push({ type, names: part });
      }
      bytes += size;
      (part[kind] ??= []).push(name);
    }
  }
  return changes;
}
