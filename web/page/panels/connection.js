/** The panel of the connection: its state, whether it was resumed, and lost messages. */

import { byId, createElement, createTime, setText, throttleDraw } from '../ui/dom.js';
import { formatCount } from '../ui/format.js';

/** @import { Gap, Live, Message, Resumed, State } from '../../mayfly.js' */

const EVENTS_MAX = 12;
const REFRESH_MS = 250;
/** Messages after a longer pause are live, because a replay has no long pauses. */
const REPLAY_PAUSE_MS = 10_000;
const MISSED_INTERVAL_MS = 350;
const REASONS = {
  window: 'the position is outside the resume window',
  data_lost: 'the server lost stream data',
  unknown_position: 'the position is malformed',
};

/** The meanings of close codes that have no reason or only a machine-readable one.
 * @type {Record<number, string>} */
const CLOSE_CODES = {
  1001: 'the server is shutting down',
  1006: 'the connection was lost',
  4000: 'this client was too slow',
  4001: 'this client did not respond',
  4002: 'the server is overloaded',
  4003: 'the token has expired',
  4502: 'the server requires a valid API key or token',
  4503: 'the API key or token was revoked',
};

export class ConnectionPanel {
  /** @type {Live | undefined} */
  #live;
  #onMissed;
  /** Whether received messages may be replayed ones. */
  #isReplaying = false;
  /** Messages created before this time and received in a replay were missed. */
  #openedAt = 0;
  #replayedAt = 0;
  #missed = 0;
  #dropped = 0;
  #reconnectAt = 0;
  #requestDrawMissed = throttleDraw(() => this.#drawMissed(), MISSED_INTERVAL_MS);

  /** @param {{ onToggle: () => void, onMissed: (messages: number) => void }} options */
  constructor({ onToggle, onMissed }) {
    this.#onMissed = onMissed;
    byId('toggle').addEventListener('click', onToggle);
    setInterval(() => this.#refresh(), REFRESH_MS);
  }

  /** @param {Live} live */
  watch(live) {
    this.#live = live;
    this.#showState(live, live.state);
    live.on('state', (state) => this.#showState(live, state));
    live.on('resumed', (frame) => this.#showResumed(frame));
    live.on('message', (message) => this.#countMissed(live, message));
    live.on('gap', (gap) => this.#showGap(gap));
    live.on('error', ({ code, message }) => this.#log(`Error ${code}: ${message}`));
  }

  /**
   * @param {Live} live
   * @param {State} state
   */
  #showState(live, state) {
    byId('status').dataset.state = state.state;
    byId('toggle').textContent = state.state === 'closed' ? 'Connect' : 'Disconnect';
    if (state.state === 'open') {
      this.#openedAt = live.now;
      this.#missed = 0;
      this.#isReplaying = false;
      byId('connection-id').textContent = state.connection;
      byId('connection-resumed').textContent = 'first connection';
    } else {
      byId('connection-id').textContent = '–';
    }
    if (state.state === 'waiting') this.#reconnectAt = performance.now() + state.delay_ms;
    const { short, long } = describeState(state);
    byId('status-text').textContent = short;
    byId('connection-state').textContent = long;
    if (state.state !== 'connecting') this.#log(long);
    this.#refresh();
  }

  /** @param {Resumed} frame */
  #showResumed(frame) {
    this.#isReplaying = frame.resumed;
    if (frame.resumed) {
      this.#missed = 0;
      this.#replayedAt = performance.now();
      byId('connection-resumed').textContent = 'yes: no messages were missed';
      this.#log('Resumed');
      return;
    }
    const reason = REASONS[frame.reason] ?? frame.reason;
    byId('connection-resumed').textContent = `no: ${reason}`;
    byId('connection-lost').textContent = 'possibly: the connection was not resumed';
    this.#log(`Not resumed: ${reason}`);
  }

  /**
   * Counts the missed messages of a replay. The replay ends with the first message created after
   * the connection opened. It also ends with a pause, because the clock that set `created_at` may
   * be behind.
   * @param {Live} live
   * @param {Message} message
   */
  #countMissed(live, { created_at }) {
    if (!this.#isReplaying) return;
    const now = performance.now();
    const isNewer = Date.parse(created_at) >= this.#openedAt;
    if (live.state.state !== 'open' || isNewer || now - this.#replayedAt > REPLAY_PAUSE_MS) {
      this.#isReplaying = false;
      return;
    }
    this.#replayedAt = now;
    this.#missed += 1;
    this.#requestDrawMissed();
  }

  #drawMissed() {
    if (this.#missed === 0) return;
    const missed = formatCount(this.#missed, 'missed message');
    setText(byId('connection-resumed'), `yes: ${missed} received`);
    this.#onMissed(this.#missed);
  }

  /** @param {Gap} gap */
  #showGap({ dropped }) {
    this.#dropped += dropped;
    const total = formatCount(this.#dropped, 'message');
    byId('connection-lost').textContent = `${total} dropped: this client was too slow`;
    this.#log(`${formatCount(dropped, 'message')} dropped`);
  }

  /**
   * Updates the values that change continuously. These elements are not live regions of screen
   * readers.
   */
  #refresh() {
    if (document.hidden) return;
    const position = this.#live?.position ?? '';
    const element = byId('connection-position');
    setText(element, position || '–');
    if (element.title !== position) element.title = position;
    if (this.#live?.state.state !== 'waiting') return;
    const seconds = Math.max(0, Math.ceil((this.#reconnectAt - performance.now()) / 1000));
    setText(byId('status-text'), `Reconnecting in ${seconds} s`);
  }

  /** @param {string} text */
  #log(text) {
    const list = byId('connection-events');
    list.prepend(createElement('li', {}, createTime(Date.now()), ' ', text));
    while (list.childElementCount > EVENTS_MAX) list.lastElementChild?.remove();
  }
}

/** @param {State} state */
function describeState(state) {
  switch (state.state) {
    case 'connecting':
      return { short: 'Connecting', long: 'Connecting…' };
    case 'open':
      return { short: 'Live', long: 'Connected' };
    case 'waiting': {
      const seconds = Math.ceil(state.delay_ms / 1000);
      const long = `Disconnected (${describeClose(state)}), reconnecting in ${seconds} s`;
      return { short: 'Disconnected', long };
    }
    case 'closed':
      return state.code === 1000
        ? { short: 'Offline', long: 'Disconnected' }
        : { short: 'Rejected', long: `Closed by the server (${describeClose(state)})` };
  }
}

/** @param {{ code: number, reason: string }} close */
function describeClose({ code, reason }) {
  const text = code === 1006 ? reason || CLOSE_CODES[code] : (CLOSE_CODES[code] ?? reason);
  return [code, text].filter(Boolean).join(': ');
}
