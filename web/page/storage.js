/**
 * Values that survive a reload of this tab. Without session storage, a reload discards them.
 */

/** @type {Map<string, string>} */
const fallback = new Map();

/** @param {string} name */
export function load(name) {
  try {
    return sessionStorage.getItem(`mayfly.${name}`);
  } catch {
    return fallback.get(name) ?? null;
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
export function save(name, value) {
  try {
    sessionStorage.setItem(`mayfly.${name}`, value);
  } catch {
    fallback.set(name, value);
  }
}

/** @param {string} name */
export function remove(name) {
  fallback.delete(name);
  try {
    sessionStorage.removeItem(`mayfly.${name}`);
  } catch {
    // Without session storage, there was only the other value.
  }
}
