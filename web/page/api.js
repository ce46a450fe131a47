/** Requests to the services. */

import { createHeaders, loadCredentials } from './credentials.js';
import { createRandomId } from './random.js';

const TIMEOUT_MS = 15_000;

/** @typedef {{ ingest_url: string, list_url: string, live_url: string }} ServiceUrls */
/** @typedef {{ field?: string, message: string }} FieldError */
/** The services, and the clock for the expiry of messages.
 * @typedef {{ urls: Promise<ServiceUrls>, clock: import('./clock.js').Clock }} Context */
/**
 * Asks the user for credentials after a service rejected those that were sent, or required some.
 * Returns whether there are others now.
 * @callback AskForCredentials
 * @param {string | null} sent
 * @param {boolean} isUserAction
 * @returns {Promise<boolean>}
 */

/** @type {AskForCredentials} */
let askForCredentials = async () => false;

/**
 * Sets the function that asks for credentials when a service responds with status 401.
 * @param {AskForCredentials} ask
 */
export function onUnauthorized(ask) {
  askForCredentials = ask;
}

/**
 * Returns the base URLs of the services. An empty URL means the origin of this page.
 * @returns {Promise<ServiceUrls>}
 */
export async function loadServiceUrls() {
  const sameOrigin = { ingest_url: '', list_url: '', live_url: '' };
  try {
    const response = await fetch(new URL('../config.json', import.meta.url));
    return response.ok ? { ...sameOrigin, ...(await response.json()) } : sameOrigin;
  } catch {
    return sameOrigin;
  }
}

/**
 * Sends a request and returns the JSON of the response. If the service requires other credentials,
 * asks for them and sends the request again.
 * @param {string} url
 * @param {RequestInit} [options]
 * @param {boolean} isUserAction whether the user waits for the response
 * @throws {ApiError} if the request fails or is rejected
 */
export async function request(url, options, isUserAction = false) {
  const credentials = loadCredentials();
  let response = await send(url, options, credentials);
  if (response.status === 401 && (await askForCredentials(credentials, isUserAction))) {
    response = await send(url, options, loadCredentials());
  }
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  if (response.ok) throw new ApiError('The response of the service is incomplete.');
  const retryAfter = response.headers.get('Retry-After');
  const detail =
    body?.detail || body?.title || `The service responded with status ${response.status}.`;
  const message = retryAfter ? `${detail} Retry in ${retryAfter} s.` : detail;
  throw new ApiError(message, body?.errors, response.status);
}

/**
 * @param {string} url
 * @param {RequestInit | undefined} options
 * @param {string | null} credentials
 * @throws {ApiError} if there is no response
 */
async function send(url, options, credentials) {
  const headers = createHeaders(options?.headers, credentials);
  try {
    return await fetch(url, { ...options, headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    const isTimeout = error instanceof DOMException && error.name === 'TimeoutError';
    throw new ApiError(
      isTimeout
        ? 'The service did not respond within 15 seconds.'
        : 'The service cannot be reached.',
    );
  }
}

/**
 * The idempotency keys of requests whose outcome is unknown, by URL and body.
 * @type {Map<string, string>}
 */
const unsettledKeys = new Map();

/**
 * Sends a POST request that is executed at most once, although it may be sent again. If its outcome
 * is unknown, because no complete response arrived or the service failed, the next request with the
 * same URL and body has the same `Idempotency-Key` and receives the original response.
 * @param {string} url
 * @param {string} [body] JSON
 * @throws {ApiError} if the request fails or is rejected
 */
export async function postOnce(url, body) {
  const content = JSON.stringify([url, body]);
  const key = unsettledKeys.get(content) ?? createRandomId();
  unsettledKeys.set(content, key);
  // Another request may already have a new key.
  const settle = () => {
    if (unsettledKeys.get(content) === key) unsettledKeys.delete(content);
  };
  /** @type {Record<string, string>} */
  const headers = { 'Idempotency-Key': key };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  try {
    const response = await request(url, { method: 'POST', headers, body }, true);
    settle();
    return response;
  } catch (error) {
    if (error instanceof ApiError && error.isRejection) settle();
    throw error;
  }
}

/** A failed or rejected request, with the errors of its fields. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {FieldError[]} fieldErrors
   * @param {number} status the status of the response; 0 without a complete response
   */
  constructor(message, fieldErrors = [], status = 0) {
    super(message);
    this.fieldErrors = fieldErrors;
    this.status = status;
  }

  /** Whether the service rejected the request, so that the request had no effect. */
  get isRejection() {
    return this.status >= 400 && this.status < 500;
  }

  /** Whether the same request may succeed later. */
  get isTransient() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}
