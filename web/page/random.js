/**
 * Returns a random ID. `crypto.randomUUID` does not exist on pages loaded over HTTP.
 */
export function createRandomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
