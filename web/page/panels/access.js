/**
 * The dialog that asks for an API key or token when a service requires one, and the controls that
 * replace and forget it.
 */

import { loadCredentials, removeCredentials, saveCredentials } from '../credentials.js';
import { byId, inputById, setText } from '../ui/dom.js';
import { describeFieldError, labelOf, showFieldError } from '../ui/field.js';

const FIELD_RULE = 'must be 1 to 8192 printable characters without spaces';
const MISSING = 'This server requires an API key or a token.';
const REJECTED =
  'The server does not accept the API key or token of this tab: it is invalid, expired or revoked.';
const CHANGE = 'Requests of this tab are sent with this API key or token.';

export class AccessPanel {
  #onChange;
  #onForget;
  #dialog = /** @type {HTMLDialogElement} */ (byId('access'));
  #input = inputById('access-key');
  /** The answer of the user while the dialog is open.
   * @type {{ promise: Promise<boolean>, resolve: (isEntered: boolean) => void } | undefined} */
  #answer;
  /** The rejected credentials for which the user closed the dialog without an answer.
   * @type {string | null | undefined} */
  #dismissed;

  /**
   * @param {{ onChange: () => void, onForget: () => void }} options `onChange` is called after
   *   credentials were entered, and `onForget` after they were removed
   */
  constructor({ onChange, onForget }) {
    this.#onChange = onChange;
    this.#onForget = onForget;
    byId('access-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#enter();
    });
    this.#input.addEventListener('input', () => showFieldError(this.#input, ''));
    byId('access-cancel').addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('close', () => this.#onClose());
    byId('access-enter').addEventListener('click', () => this.#open(CHANGE));
    byId('access-forget').addEventListener('click', () => this.#forget());
    this.#showState();
  }

  /**
   * Asks for credentials after a service rejected those that were sent, or required some. Returns
   * whether there are others now.
   * @param {string | null} sent
   * @param {boolean} isUserAction whether the dialog is shown even if the user closed it before
   */
  async ask(sent, isUserAction) {
    if (sent !== loadCredentials()) return true;
    if (sent === this.#dismissed && !isUserAction) return false;
    return this.#open(sent === null ? MISSING : REJECTED);
  }

  /** @param {string} reason */
  #open(reason) {
    if (this.#answer && this.#dialog.open) return this.#answer.promise;
    // The event `close` is dispatched later than the dialog is closed.
    this.#onClose();
    /** @type {(isEntered: boolean) => void} */
    let resolve = () => {};
    /** @type {Promise<boolean>} */
    const promise = new Promise((done) => (resolve = done));
    this.#answer = { promise, resolve };
    setText(byId('access-reason'), reason);
    this.#input.value = '';
    showFieldError(this.#input, '');
    this.#dialog.showModal();
    return promise;
  }

  #enter() {
    if (!saveCredentials(this.#input.value)) {
      showFieldError(this.#input, describeFieldError(labelOf(this.#input), FIELD_RULE));
      this.#input.focus();
      return;
    }
    this.#dismissed = undefined;
    this.#showState();
    this.#settle(true);
    this.#dialog.close();
    this.#onChange();
  }

  /** Handles every way to close the dialog, for example the Escape key. */
  #onClose() {
    // The dialog was opened again before the event was dispatched.
    if (this.#dialog.open) return;
    // The secret does not stay in the document.
    this.#input.value = '';
    if (this.#answer) this.#dismissed = loadCredentials();
    this.#settle(false);
  }

  /** @param {boolean} isEntered */
  #settle(isEntered) {
    this.#answer?.resolve(isEntered);
    this.#answer = undefined;
  }

  #forget() {
    removeCredentials();
    this.#onForget();
  }

  #showState() {
    const credentials = loadCredentials();
    const kind = credentials?.startsWith('mf_') ? 'API key' : 'token';
    setText(byId('access-state'), credentials === null ? 'no key or token' : `with ${kind}`);
    setText(byId('access-enter'), credentials === null ? 'Enter key' : 'Replace key');
    byId('access-forget').hidden = credentials === null;
  }
}
