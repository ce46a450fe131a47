/** Creates and reports errors. */

/**
 * Creates an error with a machine-readable code: an error code of the server, or `closed`.
 * @param {new (message: string) => Error} Type
 * @param {string} message
 */
export function createError(Type, message, code = 'invalid_field') {
  return Object.assign(new Type(`mayfly: ${message}`), { code });
}

/**
 * Reports an error like an uncaught exception, but without ending a Node process.
 * @param {unknown} error
 */
export function report(error) {
  (globalThis.reportError ?? console.error)(error);
}
