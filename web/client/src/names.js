/** The names of channels, videos, hosts and feeds. */

import { createError } from './errors.js';

/** @import { Names } from '../mayfly.js' */

export const FEEDS = ['messages', 'plays', 'rising', 'stats', 'pulse'];
export const KINDS = /** @type {const} */ (['channels', 'videos', 'hosts', 'feeds']);

/** @typedef {(typeof KINDS)[number]} Kind */
/** @typedef {{ [kind in Kind]?: string[] }} NameLists */

/**
 * The server's rules for names. An invalid name in the first frame would close the connection
 * permanently.
 */
const RULES = {
  channels: /^(\*|[\w.:-]{1,64})$/,
  videos: /^\P{Surrogate}{1,128}$/u,
  hosts: /^[\w.:-]{1,253}$/,
  feeds: new RegExp(`^(${FEEDS.join('|')})$`),
};

/**
 * Validates the given names and returns them as lists.
 * @param {Names} given
 */
export function parseNames(given) {
  /** @type {NameLists} */
  const names = {};
  for (const kind of KINDS) {
    const value = given[kind];
    if (value === undefined) continue;
    if (typeof value !== 'string' && !Array.isArray(value)) {
      throw createError(TypeError, `${kind} must be a string or an array of strings`);
    }
    /** @type {string[]} */
    const list = typeof value === 'string' ? [value] : [...value];
    for (const name of list) {
      if (typeof name !== 'string' || !RULES[kind].test(name)) {
        throw createError(TypeError, `invalid name in ${kind}: ${name}`);
      }
    }
    // The server reports hosts in lowercase.
    names[kind] = kind === 'hosts' ? list.map((host) => host.toLowerCase()) : list;
  }
  return names;
}

/**
 * Checks that all members of an object are known, and returns the object. A misspelled member would
 * otherwise be ignored, and an omitted member can mean "all".
 * @template {object} T
 * @param {string} what
 * @param {T} given
 * @param {readonly string[]} known
 */
export function checkMembers(what, given, known) {
  if (typeof given !== 'object' || given === null) {
    throw createError(TypeError, `${what}s must be given as an object`);
  }
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown === undefined) return given;
  throw createError(TypeError, `unknown ${what}: ${unknown}; expected one of ${known.join(', ')}`);
}

/** Returns the size of a value as JSON with a comma, in bytes. @param {unknown} value */
export function countBytes(value) {
  return new TextEncoder().encode(JSON.stringify(value)).length + 1;
}
