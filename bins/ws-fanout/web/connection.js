/** The panel that says how this page is connected, what was resumed, and what was missed. */

import { at, count, make, moment } from './ground.js';

const EVENTS_MAX = 12;
const REASONS = {
  window: 'that was too long ago for the server to know',
  data_lost: 'the server lost data meanwhile',
  unknown_position: 'the server does not know the position',
};

export class Connection {
  #live;
  #resumed;
  /** When the connection was opened: what was made before and comes now was missed and made up for. */
  #openedAt = 0;
  #meanwhile = 0;
  #dropped = 0;
  #attemptAt = 0;

  constructor({ toggle, resumed }) {
    this.#resumed = resumed;
    at('toggle').addEventListener('click', toggle);
    setInterval(() => this.#tick(), 250);
  }

  watch(live) {
    this.#live = live;
    this.#showState(live.state);
    live.on('state', (state) => this.#showState(state));
    live.on('resumed', (frame) => this.#showResumed(frame));
    live.on('message', (message) => this.#countMeanwhile(message));
    live.on('gap', (gap) => this.#showGap(gap));
    live.on('error', ({ code, message }) => this.#note(`Refused: ${code}: ${message}`));
  }

  #showState(state) {
    at('pill').dataset.state = state.state;
    at('toggle').textContent = state.state === 'closed' ? 'Connect' : 'Disconnect';
    if (state.state === 'open') {
      this.#openedAt = this.#live.now;
      this.#meanwhile = 0;
      at('link-id').textContent = state.connection;
      at('link-resumed').textContent = 'nothing to resume: first connection';
    } else {
      at('link-id').textContent = '–';
    }
    if (state.state === 'waiting') this.#attemptAt = Date.now() + state.delay_ms;
    const why = state.code ? [state.code, state.reason].filter(Boolean).join(' ') : '';
    const words = {
      connecting: ['Connecting', 'Connecting …'],
      open: ['Live', 'Connected'],
      waiting: ['Away', `Away (${why}), trying again in ${Math.ceil(state.delay_ms / 1000)} s`],
      closed: state.code === 1000 ? ['Off', 'Disconnected'] : ['Refused', `Closed for good (${why})`],
    }[state.state];
    at('pill-text').textContent = words[0];
    at('link-state').textContent = words[1];
    if (state.state !== 'connecting') this.#note(words[1]);
    this.#tick();
  }

  #showResumed({ resumed, reason }) {
    if (resumed) {
      this.#meanwhile = 0;
      at('link-resumed').textContent = 'yes: nothing came meanwhile';
      this.#note('Resumed');
    } else {
      const why = REASONS[reason] ?? reason;
      at('link-resumed').textContent = `no: ${why}`;
      at('link-missed').textContent = 'perhaps something: not resumed';
      this.#note(`Not resumed: ${why}`);
    }
  }

  #countMeanwhile({ created_at }) {
    const resuming = this.#live.state.state === 'open' && at('link-resumed').textContent.startsWith('yes');
    if (!resuming || Date.parse(created_at) >= this.#openedAt) return;
    this.#meanwhile += 1;
    at('link-resumed').textContent = `yes: ${count(this.#meanwhile, 'message')} came meanwhile`;
    this.#resumed(this.#meanwhile);
  }

  #showGap({ dropped }) {
    this.#dropped += dropped;
    at('link-missed').textContent = `${count(this.#dropped, 'message')} dropped: too slow`;
    this.#note(`${count(dropped, 'message')} dropped`);
  }

  /** What changes all the time is not read out: it is written where no reader listens. */
  #tick() {
    const { state, position } = this.#live ?? { state: {} };
    at('link-position').textContent = position ?? '–';
    at('link-position').title = position ?? '';
    if (state.state !== 'waiting') return;
    const seconds = Math.max(0, Math.ceil((this.#attemptAt - Date.now()) / 1000));
    at('pill-text').textContent = `Back in ${seconds} s`;
  }

  #note(text) {
    const list = at('link-events');
    list.prepend(make('li', {}, moment(Date.now()), ' ', text));
    while (list.childElementCount > EVENTS_MAX) list.lastElementChild.remove();
  }
}
