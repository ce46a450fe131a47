/** The panel that looks at an inbox, or takes it. */

import { ask, at, count, recall, remember, showError } from './ground.js';
import { Shown } from './message.js';

const MESSAGES_MAX = 100;
/** What happens to the inbox on the page is followed, no more often than this. */
const FOLLOW_MS = 400;

export class Inbox {
  #where;
  #now;
  #shown = [];
  /** Whose inbox is looked at; null when it was taken, for then there is nothing to follow. */
  #whose = null;
  #request = 0;
  #followTimer;

  constructor({ where, now }) {
    this.#where = where;
    this.#now = now;
    at('whose').value = recall('whose') ?? '';
    at('whose').addEventListener('input', () => showError(at('whose'), ''));
    at('inbox').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#ask(event.submitter?.value ?? 'look');
    });
    setInterval(() => this.#tick(), 1000);
  }

  watch(live) {
    live.on('message', ({ username }) => username !== null && username === this.#whose && this.#follow());
    live.on('expired', ({ ids }) => {
      if (this.#whose === null) return;
      for (const shown of this.#shown) {
        if (ids.includes(shown.message.id)) shown.leave(shown.endsAt > this.#now() ? 'taken or deleted' : '');
      }
      this.#say();
    });
  }

  async #ask(what) {
    const whose = at('whose').value;
    showError(at('whose'), '');
    remember('whose', whose);
    // Of an address, a name of one or two dots would be a step and no name.
    if (/^\.{0,2}$/.test(whose)) {
      showError(at('whose'), whose ? 'This name fits into no address.' : 'Whose inbox is it to be?');
      at('whose').focus();
      return;
    }
    const request = ++this.#request;
    const path = `/v1/users/${encodeURIComponent(whose)}/messages${what === 'take' ? '/take' : ''}`;
    let answer;
    try {
      const { list_url } = await this.#where;
      const method = what === 'take' ? 'POST' : 'GET';
      answer = await ask(`${list_url}${path}?limit=${MESSAGES_MAX}`, { method });
    } catch (error) {
      if (request === this.#request) showError(at('whose'), error.errors[0]?.message ?? error.message);
      return;
    }
    // What was taken is shown in any case: nobody gets it again.
    if (request === this.#request || what === 'take') this.#show(answer, what, whose);
  }

  #show({ items, has_more }, what, whose) {
    this.#request += 1;
    const list = at('inbox-list');
    const follows = what === 'look' && whose === this.#whose;
    if (!follows) {
      this.#shown = [];
      list.replaceChildren();
      list.classList.toggle('kept', what === 'take');
    }
    this.#whose = what === 'look' ? whose : null;
    // What is on the page already stays as it is, with its age and its place.
    const known = new Map(this.#shown.map((shown) => [shown.message.id, shown]));
    this.#shown = items.map((message) => known.get(message.id) ?? new Shown(message, this.#now()));
    for (const shown of this.#shown) if (!known.delete(shown.message.id)) list.append(shown.element);
    for (const shown of known.values()) shown.leave();
    this.#say(has_more);
  }

  #say(has_more = false) {
    const left = this.#shown.filter(({ ending }) => !ending).length;
    const more = has_more ? ', and there are more' : '';
    const text = this.#whose === null ? `Taken: ${count(left, 'message')}${more}. Nobody else gets them.` : `${count(left, 'message')}${more}.`;
    at('inbox-note').textContent = left ? text : 'Nothing in it.';
  }

  #follow() {
    this.#followTimer ??= setTimeout(() => {
      this.#followTimer = undefined;
      if (this.#whose !== null && this.#whose === at('whose').value) this.#ask('look');
    }, FOLLOW_MS);
  }

  #tick() {
    if (this.#whose === null) return;
    const now = this.#now();
    for (const shown of this.#shown) {
      if (shown.endsAt <= now) shown.leave();
      else shown.tell(now);
    }
    if (this.#shown.some(({ ending }) => ending)) {
      this.#shown = this.#shown.filter(({ ending }) => !ending);
      this.#say();
    }
  }
}
