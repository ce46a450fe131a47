/** Errors that the client throws, and errors of listeners. */

/**
 * Creates an error with a code for programs: a code of the server, or `closed`.
 * @param {new (message: string) => Error} Type
 * @param {string} message
 */
export function createError(Type, message, code = 'invalid_field') {
  return Object.assign(new Type(`mayfly: ${message}`), { code });
}

/**
 * Reports an error as an uncaught one, without ending a Node process.
 * @param {unknown} error
 */
export function report(error) {
  (globalThis.reportError ?? console.error)(error);
}
