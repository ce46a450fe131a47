/** The panel that posts a message. */

import { ApiError, postOnce } from '../api.js';
import { loadCredentials } from '../credentials.js';
import { load, save } from '../storage.js';
import { byId, createElement, inputById } from '../ui/dom.js';
import { describeFieldError, labelOf, showFieldError } from '../ui/field.js';

/** @import { Message } from '../../mayfly.js' */

const FIELDS = ['text', 'username', 'city', 'state', 'channel', 'ttl'];
/** Fields that keep their values after a reload. */
const SAVED_FIELDS = ['username', 'city', 'state', 'channel', 'ttl', 'unit'];

export class PostPanel {
  #urls;
  #onPosted;
  #form = /** @type {HTMLFormElement} */ (byId('post'));
  #status = byId('post-status');
  #isBusy = false;

  /**
   * @param {{
   *   urls: Promise<import('../api.js').ServiceUrls>, onPosted: (message: Message) => string,
   * }} options `onPosted` returns a sentence that says where the message is
   */
  constructor({ urls, onPosted }) {
    this.#urls = urls;
    this.#onPosted = onPosted;
    for (const name of SAVED_FIELDS) inputById(name).value = load(name) ?? inputById(name).value;
    for (const name of FIELDS) {
      inputById(name).addEventListener('input', () => showFieldError(inputById(name), ''));
    }
    inputById('unit').addEventListener('input', () => showFieldError(inputById('ttl'), ''));
    inputById('text').addEventListener('keydown', (event) => this.#onKeyDown(event));
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#post();
    });
  }

  /**
   * Posts on Enter, except while composing text and on devices without a hardware keyboard.
   * @param {KeyboardEvent} event
   */
  #onKeyDown(event) {
    const isEnter = event.key === 'Enter' && !event.shiftKey && !event.altKey && !event.isComposing;
    const hasKeyboard = event.ctrlKey || event.metaKey || matchMedia('(hover: hover)').matches;
    if (!isEnter || !hasKeyboard) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  /** Returns the message without empty fields. The service validates the other fields. */
  #readMessage() {
    /** @type {Record<string, string | number>} */
    const message = {};
    for (const name of ['username', 'text', 'city', 'state', 'channel']) {
      const { value } = inputById(name);
      if (value !== '') message[name] = value;
    }
    const ttl = inputById('ttl').value.trim();
    const ms = Number(ttl.replace(',', '.')) * Number(inputById('unit').value) * 1000;
    // Rounds to milliseconds, because 1.1 hours is not a whole number of seconds in floating point.
    const seconds = Math.round(ms) / 1000;
    if (ttl !== '') message.ttl = Number.isFinite(seconds) ? seconds : ttl;
    return message;
  }

  async #post() {
    if (this.#isBusy) return;
    for (const name of FIELDS) showFieldError(inputById(name), '');
    for (const name of SAVED_FIELDS) save(name, inputById(name).value);
    // The API also accepts data instead of a text, but this form has no field for data.
    if (inputById('text').value === '') {
      this.#showRejected(new ApiError('', [{ field: 'text', message: 'must not be empty' }]));
      return;
    }
    this.#setBusy(true);
    const startedAt = performance.now();
    try {
      const { ingest_url, list_url } = await this.#urls;
      const body = JSON.stringify(this.#readMessage());
      const message = await postOnce(`${ingest_url}/v1/messages`, body);
      const ms = Math.round(performance.now() - startedAt);
      const place = this.#onPosted(message);
      this.#showAccepted(
        `Accepted in ${ms} ms. ${place} `,
        `${list_url}/v1/messages/${message.id}`,
      );
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#showRejected(error);
    } finally {
      this.#setBusy(false);
    }
  }

  /**
   * @param {string} text
   * @param {string} url
   */
  #showAccepted(text, url) {
    inputById('text').value = '';
    inputById('text').focus();
    const options = { href: url, target: '_blank', rel: 'noopener', textContent: 'View JSON' };
    this.#status.className = 'form-status good';
    this.#status.replaceChildren(text);
    // The browser follows a link without the credentials.
    if (loadCredentials() === null) this.#status.append(createElement('a', options));
  }

  /**
   * Shows each error below its field, and errors without a field below the form. The first invalid
   * field gets the focus.
   * @param {ApiError} error
   */
  #showRejected({ message, fieldErrors }) {
    const others = [];
    for (const { field = '', message: rule } of fieldErrors) {
      if (FIELDS.includes(field)) {
        const input = inputById(field);
        showFieldError(input, describeFieldError(labelOf(input), rule));
      } else {
        others.push(describeFieldError(field || 'the message', rule));
      }
    }
    const invalid = FIELDS.filter((name) => byId(name).hasAttribute('aria-invalid'));
    if (invalid.length > 0) byId(invalid[0]).focus();
    this.#status.className = 'form-status bad';
    const summary = 'The message was not posted: see the marked fields.';
    this.#status.textContent = others.join(' ') || (invalid.length > 0 ? summary : message);
  }

  /** @param {boolean} isBusy */
  #setBusy(isBusy) {
    this.#isBusy = isBusy;
    this.#form.setAttribute('aria-busy', String(isBusy));
  }
}
