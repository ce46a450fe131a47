/** The panel that reads or takes an inbox. */

import { ApiError, request } from '../api.js';
import { load, save } from '../storage.js';
import { byId, inputById, showFieldError } from '../ui/dom.js';
import { formatCount } from '../ui/format.js';
import { MessageView } from '../ui/message.js';

/** @import { Live, Message } from '../../mayfly.js' */
/** @typedef {'read' | 'take'} Action */

const MESSAGES_MAX = 100;
/** The minimum interval between automatic reads. */
const REFRESH_MS = 400;

export class InboxPanel {
  #urls;
  #now;
  /** @type {MessageView[]} */
  #views = [];
  /** The username of the inbox on the page; null after a take, which is not refreshed.
   * @type {string | null} */
  #username = null;
  #lastRequest = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #refreshTimer;
  #input = inputById('inbox-username');

  /** @param {{ urls: Promise<import('../api.js').ServiceUrls>, now: () => number }} options */
  constructor({ urls, now }) {
    this.#urls = urls;
    this.#now = now;
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
    live.on('expired', ({ ids }) => {
      if (this.#username === null) return;
      for (const view of this.#views) {
        if (!ids.includes(view.message.id)) continue;
        view.remove(view.expiresAt > this.#now() ? 'taken or deleted' : '');
      }
      this.#showStatus();
    });
  }

  /** @param {Action} action */
  async #request(action) {
    const username = this.#input.value;
    showFieldError(this.#input, '');
    save('inbox-username', username);
    // URL paths resolve the segments `.` and `..`.
    if (/^\.{0,2}$/.test(username)) {
      const error = username ? 'This username cannot be used in a URL.' : 'Enter a username.';
      showFieldError(this.#input, error);
      this.#input.focus();
      return;
    }
    const id = ++this.#lastRequest;
    const path = `/v1/users/${encodeURIComponent(username)}/messages`;
    let response;
    try {
      const { list_url } = await this.#urls;
      const [suffix, method] = action === 'take' ? ['/take', 'POST'] : ['', 'GET'];
      response = await request(`${list_url}${path}${suffix}?limit=${MESSAGES_MAX}`, { method });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const message = error.fieldErrors[0]?.message ?? error.message;
      if (id === this.#lastRequest) showFieldError(this.#input, message);
      return;
    }
    // Taken messages are always shown: no other request returns them.
    if (id === this.#lastRequest || action === 'take') this.#show(response, action, username);
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
    // Messages that are already on the page keep their place and their animations.
    const previous = new Map(this.#views.map((view) => [view.message.id, view]));
    const now = this.#now();
    this.#views = items.map((message) => previous.get(message.id) ?? new MessageView(message, now));
    for (const view of this.#views) {
      if (!previous.delete(view.message.id)) list.append(view.element);
    }
    for (const view of previous.values()) view.remove();
    this.#showStatus(has_more);
  }

  #showStatus(hasMore = false) {
    const count = this.#views.filter(({ isRemoved }) => !isRemoved).length;
    const messages = `${formatCount(count, 'message')}${hasMore ? ', more available' : ''}.`;
    const taken = `Taken: ${messages} No one else can read them.`;
    const text = this.#username === null ? taken : messages;
    byId('inbox-status').textContent = count ? text : 'The inbox is empty.';
  }

  #scheduleRefresh() {
    this.#refreshTimer ??= setTimeout(() => {
      this.#refreshTimer = undefined;
      if (this.#username !== null && this.#username === this.#input.value) this.#request('read');
    }, REFRESH_MS);
  }

  #tick() {
    if (this.#username === null) return;
    const now = this.#now();
    for (const view of this.#views) {
      if (view.expiresAt <= now) view.remove();
      else view.updateRemaining(now);
    }
    if (this.#views.some(({ isRemoved }) => isRemoved)) {
      this.#views = this.#views.filter(({ isRemoved }) => !isRemoved);
      this.#showStatus();
    }
  }
}
