/** The panel that reads or takes an inbox. */

import { ApiError, postOnce, request } from '../api.js';
import { load, save } from '../storage.js';
import { byId, inputById, setText } from '../ui/dom.js';
import { describeFieldError, labelOf, showFieldError } from '../ui/field.js';
import { formatCount } from '../ui/format.js';
import { MessageView, REASON_VISIBLE_MS, findExpiry, removeViews } from '../ui/message.js';

/** @import { Live, Message } from '../../mayfly.js' */
/** @typedef {'read' | 'take'} Action */

const MESSAGES_MAX = 100;
/** The minimum interval between automatic reads. */
const REFRESH_MS = 400;

export class InboxPanel {
  #urls;
  #clock;
  /** @type {MessageView[]} */
  #views = [];
  /** The username of the displayed inbox; null after a take, because its result is not refreshed.
   * @type {string | null} */
  #username = null;
  #lastRequest = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #refreshTimer;
  #input = inputById('inbox-username');

  /** @param {import('../api.js').Context} context */
  constructor({ urls, clock }) {
    this.#urls = urls;
    this.#clock = clock;
    this.#input.value = load('inbox-username') ?? '';
    this.#input.addEventListener('input', () => showFieldError(this.#input, ''));
    byId('inbox').addEventListener('submit', (event) => {
      event.preventDefault();
      const button = /** @type {HTMLButtonElement | null} */ (event.submitter);
      this.#request(button?.value === 'take' ? 'take' : 'read');
    });
    setInterval(() => this.#tick(), 1000);
  }

  /** @param {Live} live */
  watch(live) {
    live.on('message', ({ username }) => {
      if (username !== null && username === this.#username) this.#scheduleRefresh();
    });
    live.on('expired', ({ ids, by_time }) => {
      if (this.#username === null || this.#views.length === 0) return;
      const expired = new Set(ids);
      const views = this.#views.filter(({ message }) => expired.has(message.id));
      if (views.length === 0) return;
      if (by_time) this.#remove(views);
      else this.#removeTaken(views);
      this.#showStatus();
    });
  }

  /** @param {MessageView[]} views */
  #removeTaken(views) {
    for (const view of views) view.markRemoved();
    setTimeout(() => this.#remove(views), REASON_VISIBLE_MS);
  }

  /** @param {MessageView[]} views */
  #remove(views) {
    const removed = new Set(views);
    this.#views = this.#views.filter((view) => !removed.has(view));
    removeViews(views);
  }

  /** @param {Action} action */
  async #request(action) {
    const username = this.#input.value;
    showFieldError(this.#input, '');
    save('inbox-username', username);
    // URL parsers resolve the path segments `.` and `..`.
    if (/^\.{0,2}$/.test(username)) {
      this.#showError(
        username ? 'Username must not be “.” or “..”.' : 'Username must not be empty.',
      );
      return;
    }
    const id = ++this.#lastRequest;
    const path = `/v1/users/${encodeURIComponent(username)}/messages`;
    let response;
    try {
      const { list_url } = await this.#urls;
      const limit = `limit=${MESSAGES_MAX}`;
      response =
        action === 'take'
          ? await postOnce(`${list_url}${path}/take?${limit}`)
          : await request(`${list_url}${path}?${limit}`);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const [invalid] = error.fieldErrors;
      const message = invalid
        ? describeFieldError(invalid.field || labelOf(this.#input), invalid.message)
        : error.message;
      if (id === this.#lastRequest) this.#showError(message);
      return;
    }
    // Taken messages are always shown, because no other request returns them.
    if (id === this.#lastRequest || action === 'take') this.#show(response, action, username);
  }

  /** @param {string} text */
  #showError(text) {
    showFieldError(this.#input, text);
    this.#input.focus();
  }

  /**
   * @param {{ items: Message[], has_more: boolean }} response
   * @param {Action} action
   * @param {string} username
   */
  #show({ items, has_more }, action, username) {
    this.#lastRequest += 1;
    const list = byId('inbox-list');
    const isRefresh = action === 'read' && username === this.#username;
    if (!isRefresh) {
      this.#views = [];
      list.replaceChildren();
      list.classList.toggle('taken', action === 'take');
    }
    this.#username = action === 'read' ? username : null;
    // Messages that are already on the page keep their place.
    const previous = new Map(this.#views.map((view) => [view.message.id, view]));
    /** @param {Message} message */
    const createView = (message) =>
      new MessageView(message, findExpiry(message, this.#clock), this.#clock.elapsed);
    this.#views = items.map((message) => previous.get(message.id) ?? createView(message));
    const added = this.#views.filter(({ message }) => !previous.delete(message.id));
    list.append(...added.map(({ element }) => element));
    removeViews([...previous.values()]);
    this.#showStatus(has_more);
  }

  #showStatus(hasMore = false) {
    const count = this.#views.filter(({ isRemoved }) => !isRemoved).length;
    const messages = `${formatCount(count, 'message')}${hasMore ? ', more available' : ''}.`;
    const taken = `Taken: ${messages} No one else can read them.`;
    const text = this.#username === null ? taken : messages;
    setText(byId('inbox-status'), count ? text : 'The inbox is empty.');
  }

  #scheduleRefresh() {
    this.#refreshTimer ??= setTimeout(() => {
      this.#refreshTimer = undefined;
      if (this.#username !== null && this.#username === this.#input.value) this.#request('read');
    }, REFRESH_MS);
  }

  #tick() {
    if (this.#username === null || document.hidden) return;
    const now = this.#clock.elapsed;
    const due = this.#views.filter(({ expiresAt, isRemoved }) => !isRemoved && expiresAt <= now);
    if (due.length) {
      this.#remove(due);
      this.#showStatus();
    }
    for (const view of this.#views) view.update(now);
  }
}
