/**
 * mayfly.js: the browser client of Mayfly's live feeds.
 *
 *     const live = mayfly.connect({ channels: ['lobby'] });
 *     live.on('message', (message) => show(message));
 *     live.on('expired', ({ ids }) => hide(ids));
 *
 * The file is both an ES module and a classic script. mayfly.d.ts documents the API.
 */

/** @import { Events, Live, Message, Names, Options, State } from './mayfly.js' */

(() => {
  'use strict';

  const FEEDS = ['messages', 'plays', 'rising', 'stats', 'pulse'];
  /** Frames that listeners receive unchanged. */
  const STATELESS = ['gap', ...FEEDS.filter((feed) => feed !== 'messages')];
  const EVENTS = [...STATELESS, 'message', 'expired', 'resumed', 'state', 'error'];
  /** In this order: the server accepts the feed `rising` only with a host. */
  const KINDS = /** @type {const} */ (['channels', 'videos', 'hosts', 'feeds']);
  const CHANNEL = /^[A-Za-z0-9._:-]{1,64}$/;

  /** The server's limit of names of each kind. */
  const NAMES_MAX = 128;
  /**
   * The server accepts client frames of up to 4 KiB. The rest is reserved for the JSON around the
   * names.
   */
  const NAMES_BYTES_MAX = 3500;
  /** The number of messages remembered, to drop duplicates and to report expiry. */
  const MESSAGES_MAX = 20_000;
  /** How long to wait for `hello`, and for the response to a ping. */
  const RESPONSE_TIMEOUT_MS = 10_000;
  /** The delay is random, up to a limit that doubles with each failure. */
  const RECONNECT_DELAY_MIN_MS = 500;
  const RECONNECT_DELAY_MAX_MS = 30_000;
  /** A connection that was open this long resets the reconnect delay. */
  const STABLE_MS = 10_000;
  /** The shortest expiry timer: messages that expire close together are reported together. */
  const EXPIRY_MIN_MS = 20;
  /** The longest delay of `setTimeout`; a longer one would fire immediately. */
  const TIMER_MAX_MS = 2 ** 31 - 1;

  /** @typedef {(typeof KINDS)[number]} Kind */
  /** @typedef {{ [kind in Kind]?: string[] }} NameLists */
  /**
   * Subscribed names. `channels: null` means all channels.
   * @typedef {{ [kind in Exclude<Kind, 'channels'>]: Set<string> } & { channels: Set<string> | null }} Subscriptions
   */
  /**
   * A `subscribe` or `unsubscribe` frame that the server has not confirmed yet.
   * @typedef {{ type: string, names: NameLists, settle?: (confirmed: boolean) => void }} Change
   */
  /**
   * A connection or an attempt to connect. `changes` and `cleanup` are those of its URL.
   * @typedef {{
   *   socket: WebSocket | null, openedAt: number, receivedAt: number, pinging: boolean,
   *   pingIntervalMs: number, changes: Change[], cleanup: NameLists,
   * }} Connection
   */

  /** @implements {Live} */
  class Client {
    #options;
    #url;
    /** @type {string | null} */
    #position;
    /** @type {State} */
    #state = { state: 'connecting' };
    /** @type {Map<string, Set<Function>>} */
    #listeners = new Map();
    /** The subscriptions that the server has confirmed. */
    #subscriptions;
    /** Unconfirmed changes. The server confirms them in this order.
     * @type {Change[]} */
    #changes = [];
    /** The current connection. Callbacks of an earlier one are ignored.
     * @type {Connection | null} */
    #connection = null;
    #failures = 0;
    /** One timer for `hello`, pings and reconnecting: only one of them is due at a time.
     * @type {ReturnType<typeof setTimeout> | undefined} */
    #timer;
    /** The expiry time of each message by ID; null once its expiry was reported.
     * @type {Map<string, number | null>} */
    #messages = new Map();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    #expiryTimer;
    #expiryAt = Infinity;
    /** The server's clock minus the local clock. */
    #clockOffsetMs = 0;
    #onVisible = () => document.hidden || this.#checkNow();
    #onOnline = () => this.#checkNow();

    /** @param {Options} options */
    constructor(options) {
      this.#options = { WebSocket: globalThis.WebSocket, ...options };
      if (!this.#options.WebSocket) throw new TypeError('mayfly: WebSocket is not available');
      this.#url = new URL(options.url || '/v1/live', globalThis.location?.href);
      this.#url.protocol = this.#url.protocol.replace('http', 'ws');
      if (this.#url.pathname === '/') this.#url.pathname = '/v1/live';
      this.#position = options.since || null;
      const none = { channels: null, feeds: new Set(), videos: new Set(), hosts: new Set() };
      const names = { feeds: ['messages'], ...parseNames(options) };
      this.#subscriptions = checkLimits(applyChange(none, { type: 'subscribe', names }));
      globalThis.addEventListener?.('online', this.#onOnline);
      globalThis.document?.addEventListener('visibilitychange', this.#onVisible);
      // The caller can add listeners before the first event.
      queueMicrotask(() => this.#state.state === 'closed' || this.#connect());
    }

    get position() {
      return this.#position;
    }

    get state() {
      return this.#state;
    }

    get now() {
      return Date.now() + this.#clockOffsetMs;
    }

    /**
     * @template {keyof Events} E
     * @param {E} event
     * @param {Events[E]} listener
     */
    on(event, listener) {
      if (!EVENTS.includes(event)) throw new TypeError(`mayfly: unknown event: ${event}`);
      const listeners = this.#listeners.get(event) ?? new Set();
      this.#listeners.set(event, listeners.add(listener));
      return () => void listeners.delete(listener);
    }

    /** @param {Names | string | string[]} names */
    subscribe(names) {
      return this.#request('subscribe', names);
    }

    /** @param {Names | string | string[]} names */
    unsubscribe(names) {
      return this.#request('unsubscribe', names);
    }

    close() {
      this.#shutDown(1000, '');
    }

    async #connect() {
      /** @type {Connection} */
      const connection = {
        ...{ socket: null, openedAt: 0, receivedAt: 0, pinging: false },
        ...{ pingIntervalMs: 25_000, changes: [], cleanup: {} },
      };
      this.#connection = connection;
      clearTimeout(this.#timer);
      this.#setState({ state: 'connecting' });
      try {
        const { token, WebSocket } = this.#options;
        const currentToken = typeof token === 'function' ? await token() : token;
        if (this.#connection !== connection) return;
        connection.changes = [...this.#changes];
        connection.socket = new WebSocket(this.#buildUrl(connection, currentToken));
      } catch (error) {
        if (this.#connection === connection) this.#reconnect(1006, String(error));
        return;
      }
      const isCurrent = () => this.#connection === connection;
      connection.socket.onmessage = ({ data }) => isCurrent() && this.#receive(connection, data);
      connection.socket.onclose = ({ code, reason }) =>
        isCurrent() && this.#reconnect(code, reason);
      this.#setTimer(RESPONSE_TIMEOUT_MS, () => this.#reconnect(1006, 'no hello frame'));
    }

    /**
     * Returns the URL with all subscriptions, so that they are in effect from the start.
     * @param {Connection} connection
     * @param {string | null | undefined} token
     */
    #buildUrl(connection, token) {
      const url = new URL(this.#url);
      const subscriptions = connection.changes.reduce(applyChange, this.#subscriptions);
      /** @type {(key: string, value: string | null | undefined) => void} */
      const append = (key, value) => {
        if (value) url.searchParams.append(key, value);
      };
      for (const kind of KINDS) {
        for (const name of subscriptions[kind] ?? []) append(kind.slice(0, -1), name);
      }
      // A URL cannot express an empty set, so a placeholder is sent and unsubscribed later.
      if (subscriptions.feeds.size === 0) connection.cleanup.feeds = ['messages'];
      if (subscriptions.channels?.size === 0) {
        connection.cleanup.channels = ['-'];
        append('channel', '-');
      }
      append('since', this.#position);
      append('token', token);
      return url.href;
    }

    /**
     * @param {Connection} connection
     * @param {string} data
     */
    #receive(connection, data) {
      connection.receivedAt = performance.now();
      let frame;
      try {
        frame = JSON.parse(data);
      } catch {
        return;
      }
      if (['message', 'expired', 'position'].includes(frame.type)) this.#position = frame.position;
      switch (frame.type) {
        case 'hello':
          return this.#onHello(connection, frame);
        case 'message':
          return this.#onMessage(frame);
        case 'expired':
          for (const id of frame.ids) if (this.#messages.has(id)) this.#messages.set(id, null);
          return this.#emit('expired', { ...frame, by_time: false });
        case 'subscribed':
        case 'unsubscribed':
          return this.#settleChange(true);
        case 'error':
          this.#settleChange(false);
          return this.#emit('error', frame);
        default:
          if (STATELESS.includes(frame.type)) this.#emit(frame.type, frame);
      }
    }

    /**
     * @param {Connection} connection
     * @param {any} frame
     */
    #onHello(connection, frame) {
      this.#position = frame.position;
      if (frame.time) this.#setClock(Date.parse(frame.time));
      if (!connection.openedAt) {
        connection.openedAt = connection.receivedAt;
        connection.pingIntervalMs = frame.ping_interval_ms || connection.pingIntervalMs;
        for (const _ of connection.changes) this.#settleChange(true);
        if (Object.keys(connection.cleanup).length) {
          this.#changes.unshift({ type: 'unsubscribe', names: connection.cleanup });
        }
        for (const change of this.#changes) this.#send(change);
        this.#watchSilence(connection);
        this.#setState({ state: 'open', connection: frame.connection });
      }
      if (this.#connection === connection && 'resumed' in frame) this.#emit('resumed', frame);
    }

    /** @param {{ message: Message }} frame */
    #onMessage(frame) {
      const { message } = frame;
      const { channels, feeds } = this.#changes.reduce(applyChange, this.#subscriptions);
      const isWanted = feeds.has('messages') && (!channels || channels.has(message.channel));
      if (!isWanted || this.#messages.has(message.id)) return;
      // A new message cannot be from the future: the local clock is slow.
      const created = Date.parse(message.created_at);
      if (created > this.now) this.#setClock(created);
      const expires = Date.parse(message.expires_at);
      this.#messages.set(message.id, expires);
      if (this.#messages.size > MESSAGES_MAX) {
        const [oldest = ''] = this.#messages.keys();
        this.#messages.delete(oldest);
      }
      this.#emit('message', message, frame);
      this.#scheduleExpiry(expires);
    }

    /** @param {number} now */
    #setClock(now) {
      this.#clockOffsetMs = now - Date.now();
      this.#scheduleExpiry(now);
    }

    /**
     * Schedules a check for expired messages, unless an earlier one is scheduled.
     * @param {number} time
     */
    #scheduleExpiry(time) {
      if (time >= this.#expiryAt || this.#state.state === 'closed') return;
      this.#expiryAt = time;
      clearTimeout(this.#expiryTimer);
      const ms = Math.min(Math.max(time - this.now, EXPIRY_MIN_MS), TIMER_MAX_MS);
      this.#expiryTimer = setTimeout(() => this.#expireMessages(), ms);
    }

    #expireMessages() {
      const now = this.now;
      const ids = [];
      let next = Infinity;
      for (const [id, expires] of this.#messages) {
        if (expires === null) continue;
        if (expires <= now) ids.push(id);
        else next = Math.min(next, expires);
      }
      for (const id of ids) this.#messages.set(id, null);
      this.#expiryAt = Infinity;
      if (next < Infinity) this.#scheduleExpiry(next);
      if (ids.length) this.#emit('expired', { type: 'expired', ids, by_time: true });
    }

    /**
     * Pings the server after a silent interval: scripts cannot observe protocol-level pings.
     * @param {Connection} connection
     */
    #watchSilence(connection) {
      connection.pinging = false;
      const silentMs = performance.now() - connection.receivedAt;
      if (silentMs >= connection.pingIntervalMs) this.#ping(connection);
      else
        this.#setTimer(connection.pingIntervalMs - silentMs, () => this.#watchSilence(connection));
    }

    /** @param {Connection} connection */
    #ping(connection) {
      const pingedAt = performance.now();
      connection.pinging = true;
      this.#send({ type: 'ping' });
      this.#setTimer(RESPONSE_TIMEOUT_MS, () => {
        if (connection.receivedAt >= pingedAt) this.#watchSilence(connection);
        else this.#reconnect(1006, 'no response to a ping');
      });
    }

    /** Checks the connection and expiry when the network recovers or the page becomes visible. */
    #checkNow() {
      const connection = this.#connection;
      if (this.#state.state === 'waiting' && !this.#state.asked) this.#connect();
      else if (connection?.openedAt && !connection.pinging) this.#ping(connection);
      this.#scheduleExpiry(this.now);
    }

    /**
     * @param {number} code
     * @param {string} reason
     */
    #reconnect(code, reason) {
      // These codes are permanent failures.
      if (code >= 4500 && code <= 4999) return this.#shutDown(code, reason);
      const openedAt = this.#disconnect()?.openedAt;
      if (openedAt && performance.now() - openedAt > STABLE_MS) this.#failures = 0;
      const limit = Math.min(
        RECONNECT_DELAY_MAX_MS,
        2 * RECONNECT_DELAY_MIN_MS * 2 ** this.#failures++,
      );
      const random = RECONNECT_DELAY_MIN_MS + Math.random() * (limit - RECONNECT_DELAY_MIN_MS);
      const asked = /retry_after_ms=(\d+)/.exec(reason);
      const delay_ms = Math.min(asked ? Number(asked[1]) : Math.round(random), TIMER_MAX_MS);
      this.#setTimer(delay_ms, () => this.#connect());
      this.#setState({ state: 'waiting', delay_ms, asked: Boolean(asked), code, reason });
    }

    /**
     * @param {number} code
     * @param {string} reason
     */
    #shutDown(code, reason) {
      if (this.#state.state === 'closed') return;
      this.#disconnect();
      clearTimeout(this.#expiryTimer);
      globalThis.removeEventListener?.('online', this.#onOnline);
      globalThis.document?.removeEventListener('visibilitychange', this.#onVisible);
      this.#setState({ state: 'closed', code, reason });
      while (this.#changes.length) this.#settleChange(false);
    }

    /** Drops the current connection without waiting for the closing handshake. */
    #disconnect() {
      const connection = this.#connection;
      this.#connection = null;
      clearTimeout(this.#timer);
      connection?.socket?.close(1000);
      return connection;
    }

    /**
     * @param {string} type
     * @param {Names | string | string[]} given
     */
    #request(type, given) {
      const isList = typeof given === 'string' || Array.isArray(given);
      const names = parseNames(isList ? { channels: given } : given);
      /** @type {Change[]} */
      const changes = splitNames(names).map((part) => ({ type, names: part }));
      const pending = this.#changes.reduce(applyChange, this.#subscriptions);
      checkLimits(changes.reduce(applyChange, pending));
      if (this.#state.state === 'closed') return Promise.resolve(false);
      const confirmations = changes.map(
        (change) => new Promise((resolve) => (change.settle = resolve)),
      );
      this.#changes.push(...changes);
      if (this.#connection?.openedAt) changes.forEach((change) => this.#send(change));
      return Promise.all(confirmations).then((all) => all.every(Boolean));
    }

    /**
     * Settles the oldest change, which the server confirmed or rejected.
     * @param {boolean} confirmed
     */
    #settleChange(confirmed) {
      const change = this.#changes.shift();
      if (change && confirmed) this.#subscriptions = applyChange(this.#subscriptions, change);
      change?.settle?.(confirmed);
    }

    /** @param {{ type: string, names?: NameLists }} frame */
    #send({ type, names }) {
      this.#connection?.socket?.send(JSON.stringify({ type, ...names }));
    }

    /**
     * @param {number} ms
     * @param {() => void} callback
     */
    #setTimer(ms, callback) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(callback, ms);
    }

    /** @param {State} state */
    #setState(state) {
      this.#state = state;
      this.#emit('state', state);
    }

    /**
     * Calls all listeners. One that throws affects neither the others nor the connection.
     * @param {string} event
     * @param {unknown[]} details
     */
    #emit(event, ...details) {
      for (const listener of [...(this.#listeners.get(event) ?? [])]) {
        try {
          listener(...details);
        } catch (error) {
          (globalThis.reportError ?? console.error)(error);
        }
      }
    }
  }

  /**
   * Returns lists of names, validated.
   * @param {Names} [given]
   */
  function parseNames(given = {}) {
    /** @type {NameLists} */
    const names = {};
    for (const kind of KINDS) {
      let list = [given[kind] ?? []].flat();
      // The server reports hosts in lowercase.
      if (kind === 'hosts') list = list.map((host) => String(host).toLowerCase());
      if (list.length) names[kind] = list;
    }
    const invalid =
      names.channels?.find((name) => !CHANNEL.test(name)) ??
      names.feeds?.find((name) => !FEEDS.includes(name));
    if (invalid !== undefined) throw new TypeError(`mayfly: invalid name: ${invalid}`);
    return names;
  }

  /**
   * Throws a `RangeError` if there are more names than the server accepts.
   * @param {Subscriptions} subscriptions
   */
  function checkLimits(subscriptions) {
    for (const kind of KINDS) {
      const size = subscriptions[kind]?.size ?? 0;
      if (size > NAMES_MAX) throw new RangeError(`mayfly: at most ${NAMES_MAX} ${kind}`);
    }
    return subscriptions;
  }

  /**
   * Splits names into parts that each fit into one frame.
   * @param {NameLists} names
   */
  function splitNames(names) {
    /** @type {NameLists[]} */
    const parts = [];
    /** @type {NameLists} */
    let part = {};
    let bytes = Infinity;
    for (const kind of KINDS) {
      for (const name of names[kind] ?? []) {
        // UTF-8 has at most three bytes per UTF-16 unit.
        const size = 3 * JSON.stringify(name).length;
        if (bytes + size > NAMES_BYTES_MAX) {
          parts.push((part = {}));
          bytes = 0;
        }
        bytes += size;
        (part[kind] ??= []).push(name);
      }
    }
    return parts;
  }

  /**
   * Returns the subscriptions after a change. Subscribing to a channel ends the subscription to all
   * channels.
   * @param {Subscriptions} subscriptions
   * @param {Change} change
   * @returns {Subscriptions}
   */
  function applyChange(subscriptions, { type, names }) {
    const result = { ...subscriptions };
    for (const kind of KINDS) {
      const list = names[kind];
      const current = subscriptions[kind];
      if (!list) continue;
      if (type === 'subscribe') result[kind] = new Set([...(current ?? []), ...list]);
      else if (current) result[kind] = new Set([...current].filter((name) => !list.includes(name)));
    }
    return result;
  }

  /** @param {Options} [options] */
  const connect = (options = {}) => new Client(options);
  Object.assign(globalThis, { mayfly: { connect } });
})();

// A classic script reads the next line as `typeof await` divided by an array, in which a comment
// extends to the last line. A module reads it as an awaited regular expression, before the exports.
// prettier-ignore
typeof await /[/*]/;
export const { connect } = globalThis.mayfly;
export default globalThis.mayfly;
// */];
