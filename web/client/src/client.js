/** The client: a live connection that reconnects automatically. */

import { Clock, TIMER_MAX_MS } from './clock.js';
import { createError, report } from './errors.js';
import { Lifetimes } from './lifetimes.js';
import { Listeners } from './listeners.js';
import { FEEDS, KINDS, checkMembers, parseNames } from './names.js';
import { Renewal } from './renewal.js';
import { Replay } from './replay.js';
import { Synchronization } from './synchronization.js';
import { parseUrl } from './url.js';

/** @import { Events, Live, Message, Names, Options, State, WebSocketLike } from '../mayfly.js' */

const OPTIONS = ['url', ...KINDS, 'since', 'token', 'WebSocket'];
/**
 * The maximum length of a position that the client sends. Valid positions are shorter. A longer
 * position is truncated, so that the `connect` frame does not become too large.
 */
const POSITION_CHARS_MAX = 257;
/** The timeout for a token, for the `hello` frame and for the response to a ping. */
const RESPONSE_TIMEOUT_MS = 10_000;
/** The reconnect delay is random. Its upper limit doubles with each failure. */
const RECONNECT_DELAY_MIN_MS = 500;
const RECONNECT_DELAY_MAX_MS = 30_000;
/** A connection that was open for longer than this resets the reconnect delay. */
const STABLE_MS = 10_000;

/**
 * An open connection or a connection attempt.
 * @typedef {{
 *   socket: WebSocketLike | null, hasToken: boolean, openedAt: number, receivedAt: number,
 *   pinging: boolean, pingIntervalMs: number, replay: Replay | null,
 * }} Connection
 */

/** @implements {Live} */
export class Client {
  #url;
  #token;
  #WebSocket;
  /** @type {string | null} */
  #position;
  /** @type {State} */
  #state = { state: 'connecting' };
  #listeners = new Listeners();
  #clock = new Clock();
  #lifetimes = new Lifetimes(this.#clock, (ids) =>
    this.#listeners.emit('expired', { type: 'expired', ids, by_time: true }),
  );
  #renewal = new Renewal(() => this.#renewToken());
  #synchronization;
  /** The current connection. Callbacks from earlier connections are ignored.
   * @type {Connection | null} */
  #connection = null;
  /** When an open connection last received a frame. */
  #receivedAt = -Infinity;
  #failures = 0;
  /** The timer for the token, `hello`, pings and reconnects. Only one timer is pending at a time.
   * @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #onOnline = () => this.#checkNow();
  #onVisible = () => globalThis.document?.hidden || this.#checkNow();
  /** @param {Event} event */
  #onPageShow = (event) => /** @type {PageTransitionEvent} */ (event).persisted && this.#checkNow();

  /** @param {Options} options */
  constructor(options) {
    checkMembers('option', options, OPTIONS);
    const { url, since, token, WebSocket = globalThis.WebSocket } = options;
    if (since != null && typeof since !== 'string') {
      throw createError(TypeError, 'since must be a string');
    }
    if (token != null && typeof token !== 'string' && typeof token !== 'function') {
      throw createError(TypeError, 'token must be a string or a function');
    }
    this.#url = parseUrl(url);
    this.#position = since || null;
    this.#token = token;
    this.#synchronization = new Synchronization(parseNames(options), () =>
      this.#reconnect(1006, 'a subscription was accepted only in part'),
    );
    if (typeof WebSocket !== 'function') {
      throw createError(
        TypeError,
        'no WebSocket class is available; pass one as the WebSocket option',
      );
    }
    this.#WebSocket = WebSocket;
    this.#watchPage('addEventListener');
    // The delay lets the caller add listeners before the first event.
    queueMicrotask(() => this.#state.state === 'closed' || this.#connect());
  }

  get position() {
    return this.#position;
  }

  get state() {
    return this.#state;
  }

  get now() {
    return this.#clock.server;
  }

  /**
   * @template {keyof Events} E
   * @param {E} event
   * @param {Events[E]} listener
   */
  on(event, listener) {
    return this.#listeners.add(event, listener);
  }

  /** @param {Names | string | readonly string[]} names */
  subscribe(names) {
    return this.#synchronization.request('subscribe', names);
  }

  /** @param {Names | string | readonly string[]} names */
  unsubscribe(names) {
    return this.#synchronization.request('unsubscribe', names);
  }

  close() {
    this.#shutDown(1000, '');
  }

  async #connect() {
    /** @type {Connection} */
    const connection = {
      socket: null,
      hasToken: false,
      openedAt: 0,
      receivedAt: 0,
      pinging: false,
      pingIntervalMs: 25_000,
      replay: null,
    };
    this.#connection = connection;
    // The local clock continues during sleep, after which timers may fire late.
    const startedAt = Date.now();
    const isCurrent = () => this.#connection === connection;
    /** Returns whether the attempt may continue, and otherwise reconnects. A token that was requested
     * before sleep may have expired. */
    const isFresh = () => {
      if (!isCurrent()) return false;
      const isLate = Date.now() - startedAt > 2 * RESPONSE_TIMEOUT_MS;
      if (isLate) this.#reconnect(1006, 'the attempt was suspended');
      return !isLate;
    };
    this.#setTimer(RESPONSE_TIMEOUT_MS, () =>
      this.#reconnect(1006, 'timeout while waiting for the token'),
    );
    this.#setState({ state: 'connecting' });
    let token = this.#token;
    try {
      if (typeof token === 'function') token = await token();
    } catch (error) {
      if (isCurrent()) this.#reconnect(1006, String(error));
      return;
    }
    if (!isFresh()) return;
    connection.hasToken = Boolean(token);
    this.#setTimer(RESPONSE_TIMEOUT_MS, () => this.#reconnect(1006, 'no hello frame'));
    /** @type {WebSocketLike} */
    let socket;
    try {
      socket = new this.#WebSocket(this.#url);
    } catch (error) {
      // The environment forbids this URL, for example a `ws:` URL on an `https:` page.
      return this.#shutDown(1006, String(error));
    }
    connection.socket = socket;
    socket.onopen = () => {
      const since = this.#position?.slice(0, POSITION_CHARS_MAX);
      const frame = { type: 'connect', token: token || undefined, since };
      if (isFresh()) socket.send(JSON.stringify(this.#synchronization.writeConnect(frame)));
    };
    socket.onmessage = ({ data }) => isCurrent() && this.#receive(connection, data);
    socket.onclose = ({ code, reason }) => isCurrent() && this.#reconnect(code, String(reason));
    // `onclose` follows. With the `ws` package, an unhandled error event would end the process.
    socket.onerror = () => {};
  }

  /**
   * @param {Connection} connection
   * @param {string} data
   */
  #receive(connection, data) {
    connection.receivedAt = this.#clock.elapsed;
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (!frame?.type) return;
    if (['message', 'expired', 'position'].includes(frame.type)) {
      this.#position = frame.position ?? this.#position;
    }
    try {
      this.#dispatch(connection, frame);
    } catch (error) {
      // A field of the frame is missing or invalid. In Node, an uncaught exception would end the
      // process.
      report(error);
    }
    if (connection.openedAt) this.#receivedAt = this.#clock.elapsed;
  }

  /**
   * @param {Connection} connection
   * @param {any} frame
   */
  #dispatch(connection, frame) {
    const { feeds, hosts, videos } = this.#synchronization.selection;
    switch (frame.type) {
      case 'hello':
        return this.#onHello(connection, frame);
      case 'message':
        return this.#onMessage(connection, frame);
      case 'expired':
        for (const id of frame.ids) this.#lifetimes.end(id);
        return this.#listeners.emit('expired', { ...frame, by_time: false });
      case 'subscribed':
      case 'unsubscribed':
        return this.#synchronization.confirm();
      case 'authenticated':
        return this.#scheduleRenewal(frame.expires_at);
      case 'error':
        // The computer probably slept before the client sent the first frame. After this error,
        // older servers close the connection with a code that does not permit a reconnect.
        if (!connection.openedAt && frame.code === 'request_timeout') {
          return this.#reconnect(1006, frame.message);
        }
        // Older servers do not send `reply_to`.
        if (!frame.reply_to || frame.reply_to.endsWith('subscribe')) {
          this.#synchronization.confirm(frame);
        } else if (frame.code === 'forbidden') this.#synchronization.forbid(frame);
        return this.#listeners.emit('error', frame);
      case 'gap':
        return this.#listeners.emit('gap', frame);
    }
    // Ignore frames that the server sent before it processed the latest `unsubscribe`.
    if (!FEEDS.includes(frame.type) || !feeds.has(frame.type)) return;
    if (frame.type === 'rising' && !hosts.has(frame.host)) return;
    if (frame.type === 'plays' && videos.size) {
      /** @type {{ video_id: string }[]} */
      const counts = frame.counts;
      frame.counts = counts.filter(({ video_id }) => videos.has(video_id));
      if (!frame.counts.length) return;
    }
    this.#listeners.emit(frame.type, frame);
  }

  /**
   * @param {Connection} connection
   * @param {any} frame
   */
  #onHello(connection, frame) {
    this.#position = frame.position;
    const time = Date.parse(frame.time);
    if (time) this.#clock.synchronize(time);
    if (!connection.openedAt) {
      const now = this.#clock.elapsed;
      connection.openedAt = connection.receivedAt = now;
      connection.pingIntervalMs = frame.ping_interval_ms || connection.pingIntervalMs;
      if (frame.resumed) connection.replay = new Replay(this.#clock, now - this.#receivedAt);
      this.#scheduleRenewal(frame.expires_at);
      this.#synchronization.start(connection.hasToken, (change) => this.#send(connection, change));
      this.#watchSilence(connection);
      this.#setState({ state: 'open', connection: frame.connection });
    }
    // Messages may have expired while the computer slept.
    this.#lifetimes.check();
    if (this.#connection === connection && 'resumed' in frame) {
      this.#listeners.emit('resumed', frame);
    }
  }

  /**
   * @param {Connection} connection
   * @param {{ message: Message }} frame
   */
  #onMessage(connection, frame) {
    const { message } = frame;
    const created = Date.parse(message.created_at);
    // An older server does not send its time in `hello`.
    if (created && !this.#clock.isSynchronized) this.#clock.synchronize(created);
    const ageMs = connection.replay?.findAgeMs(created) ?? 0;
    const { channels, feeds } = this.#synchronization.selection;
    const isWanted = feeds.has('messages') && (!channels || channels.has(message.channel));
    if (!isWanted || this.#lifetimes.has(message.id)) return;
    const ttlMs = Date.parse(message.expires_at) - created;
    const expires_in_ms = Number.isNaN(ttlMs) ? Infinity : Math.max(0, ttlMs - ageMs);
    this.#lifetimes.add(message.id, expires_in_ms);
    this.#listeners.emit('message', message, { ...frame, expires_in_ms });
  }

  /**
   * Schedules the renewal of the token, if the token expires and can be renewed.
   * @param {string} expiresAt
   */
  #scheduleRenewal(expiresAt) {
    const ms = Date.parse(expiresAt) - this.#clock.server;
    if (typeof this.#token !== 'function' || Number.isNaN(ms)) this.#renewal.stop();
    else this.#renewal.schedule(ms);
  }

  /** Requests a token, and sends it on the open connection. */
  async #renewToken() {
    const connection = this.#connection;
    try {
      const token = typeof this.#token === 'function' && (await this.#token());
      if (token && connection === this.#connection) this.#send(connection, { type: 'auth', token });
    } catch {
      // The renewal is repeated. If it does not succeed in time, the server closes the connection
      // with a code that permits a reconnect.
    }
  }

  /**
   * @param {Connection | null} connection
   * @param {object} frame
   */
  #send(connection, frame) {
    connection?.socket?.send(JSON.stringify(frame));
  }

  /**
   * Sends a `ping` frame when no frame has arrived for the ping interval, because scripts cannot
   * observe WebSocket pings.
   * @param {Connection} connection
   */
  #watchSilence(connection) {
    connection.pinging = false;
    const silentMs = this.#clock.elapsed - connection.receivedAt;
    const remainingMs = connection.pingIntervalMs - silentMs;
    if (remainingMs <= 0) this.#ping(connection);
    else this.#setTimer(remainingMs, () => this.#watchSilence(connection));
  }

  /** @param {Connection} connection */
  #ping(connection) {
    const pingedAt = this.#clock.elapsed;
    connection.pinging = true;
    this.#send(connection, { type: 'ping' });
    this.#setTimer(RESPONSE_TIMEOUT_MS, () => {
      if (connection.receivedAt >= pingedAt) this.#watchSilence(connection);
      else this.#reconnect(1006, 'no response to a ping');
    });
  }

  /** @param {'addEventListener' | 'removeEventListener'} method */
  #watchPage(method) {
    const { document } = globalThis;
    globalThis[method]?.('online', this.#onOnline);
    // These events occur when the browser restores the page from the back/forward cache, resumes a
    // frozen page or shows a hidden page.
    globalThis[method]?.('pageshow', this.#onPageShow);
    document?.[method]('resume', this.#onVisible);
    document?.[method]('visibilitychange', this.#onVisible);
  }

  /**
   * Reconnects or pings, renews the token if that is due, and checks for expired messages, when the
   * network recovers or the page becomes active.
   */
  #checkNow() {
    const connection = this.#connection;
    if (this.#state.state === 'waiting' && !this.#state.asked) this.#connect();
    else if (connection?.openedAt && !connection.pinging) this.#ping(connection);
    this.#renewal.check();
    this.#lifetimes.check();
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #reconnect(code, reason) {
    // The token has expired and cannot be renewed.
    const isExpired = code === 4003 && typeof this.#token === 'string';
    // The server sends these close codes for permanent failures.
    if (isExpired || (code >= 4500 && code <= 4999)) return this.#shutDown(code, reason);
    const openedAt = this.#disconnect()?.openedAt;
    if (openedAt && this.#clock.elapsed - openedAt > STABLE_MS) this.#failures = 0;
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
    this.#lifetimes.stop();
    this.#watchPage('removeEventListener');
    this.#setState({ state: 'closed', code, reason });
    this.#synchronization.close(`${code} ${reason}`.trim());
  }

  /**
   * Closes the current connection, if any, without waiting for the closing handshake, and returns
   * the connection.
   */
  #disconnect() {
    const connection = this.#connection;
    this.#connection = null;
    clearTimeout(this.#timer);
    this.#renewal.stop();
    this.#synchronization.pause();
    connection?.socket?.close(1000);
    return connection;
  }

  /**
   * @param {number} ms
   * @param {() => void} callback
   */
  #setTimer(ms, callback) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(callback, Math.min(ms, TIMER_MAX_MS));
  }

  /** @param {State} state */
  #setState(state) {
    this.#state = state;
    this.#listeners.emit('state', state);
  }
}
