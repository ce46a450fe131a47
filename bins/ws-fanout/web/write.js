/** The panel that posts a message. */

import { ask, at, make, recall, remember, showError } from './ground.js';

const FIELDS = ['text', 'username', 'city', 'state', 'channel', 'ttl'];
/** What is written anew each time is not kept. */
const KEPT = ['username', 'city', 'state', 'channel', 'ttl', 'unit'];

export class Write {
  #where;
  #form = at('write');
  #note = at('write-note');
  #busy = false;

  constructor({ where }) {
    this.#where = where;
    for (const name of KEPT) at(name).value = recall(name) ?? at(name).value;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#post();
    });
    this.#form.addEventListener('input', ({ target }) => FIELDS.includes(target.id) && showError(target, ''));
    at('unit').addEventListener('input', () => showError(at('ttl'), ''));
    at('text').addEventListener('keydown', (event) => this.#press(event));
  }

  /** Enter posts where there are keys; not while a word is being composed, nor on a phone. */
  #press(event) {
    const plain = event.key === 'Enter' && !event.shiftKey && !event.altKey && !event.isComposing;
    const posts = plain && (event.ctrlKey || event.metaKey || matchMedia('(hover: hover)').matches);
    if (!posts) return;
    event.preventDefault();
    this.#form.requestSubmit();
  }

  /** The message as it is sent: what is empty is left out, all else is for the service to judge. */
  #message() {
    const message = {};
    for (const name of ['username', 'text', 'city', 'state', 'channel']) {
      const value = at(name).value;
      if (value !== '') message[name] = value;
    }
    const ttl = at('ttl').value.trim();
    // To the millisecond, for 1.1 hours are no whole number of seconds otherwise.
    const seconds = Math.round(Number(ttl.replace(',', '.')) * Number(at('unit').value) * 1000) / 1000;
    if (ttl !== '') message.ttl = Number.isFinite(seconds) ? seconds : ttl;
    return message;
  }

  async #post() {
    if (this.#busy) return;
    this.#setBusy(true);
    for (const name of FIELDS) showError(at(name), '');
    for (const name of KEPT) remember(name, at(name).value);
    const started = performance.now();
    try {
      const { ingest_url, list_url } = await this.#where;
      const message = await ask(`${ingest_url}/v1/messages`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(this.#message()),
      });
      this.#accepted(`${list_url}/v1/messages/${message.id}`, Math.round(performance.now() - started));
    } catch (error) {
      this.#refused(error);
    }
    this.#setBusy(false);
  }

  #accepted(url, ms) {
    at('text').value = '';
    at('text').focus();
    const link = make('a', { href: url, target: '_blank', rel: 'noopener', textContent: 'as JSON' });
    this.#note.className = 'note good';
    this.#note.replaceChildren(`Accepted in ${ms} ms: `, link);
  }

  /** Each error stands at its field; what has no field stands below the form. */
  #refused({ message, errors = [] }) {
    const rest = [];
    for (const error of errors) {
      if (FIELDS.includes(error.field)) showError(at(error.field), error.message);
      else rest.push(error.field ? `${error.field}: ${error.message}` : error.message);
    }
    const first = FIELDS.find((name) => at(name).hasAttribute('aria-invalid'));
    if (first) at(first).focus();
    this.#note.className = 'note bad';
    this.#note.textContent = rest.join(' ') || (first ? 'Not posted.' : message);
  }

  #setBusy(busy) {
    this.#busy = busy;
    this.#form.setAttribute('aria-busy', String(busy));
  }
}
