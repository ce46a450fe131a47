/**
 * mayfly.js: the live layer of a site, as a page sees it.
 *
 *     const live = mayfly.connect({ channels: ['lobby'] });
 *     live.on('message', (message) => show(message));
 *     live.on('expired', ({ ids }) => hide(ids));
 *
 * One file is both an ES module and a classic script; mayfly.d.ts says how, and describes all of it.
 */
(() => {
  'use strict';

  const FEEDS = ['messages', 'plays', 'rising', 'stats', 'pulse'];
  /** Frames that are handed on as they come. */
  const PLAIN = ['gap', 'plays', 'rising', 'stats', 'pulse'];
  const EVENTS = [...PLAIN, 'message', 'expired', 'resumed', 'state', 'error'];
  const CHANNEL = /^[A-Za-z0-9._:-]{1,64}$/;
  /** The server takes so many of each kind. */
  const NAMES_MAX = 128;

  /** A client's frame holds 4 KiB; this many are filled, to leave room for what is around the names. */
  const NAMES_BYTES_MAX = 3500;
  /** So many messages are remembered: to drop repeats, and to say when they expire. */
  const MESSAGES_MAX = 20_000;
  /** How long the server may take to greet, and to answer a ping. */
  const ANSWER_MS = 10_000;
  /** A pause before connecting again is drawn from the least to a most that doubles up to the limit. */
  const PAUSE_MS_LEAST = 500;
  const PAUSE_MS_MAX = 30_000;
  /** A connection that lived this long was a good one: pauses begin from the least again. */
  const STEADY_MS = 10_000;
  /** Messages that end close together are announced together. */
  const EXPIRY_MS_LEAST = 20;
  /** What a timer can hold. A longer one would fire at once. */
  const TIMER_MS_MAX = 2 ** 31 - 1;

  class Live {
    #options;
    #address;
    #position;
    #state = { state: 'connecting' };
    #listeners = new Map();
    /** What the server has been asked for and has confirmed: sets of names. All channels are null. */
    #wanted;
    /** What was asked for since, in order; the server confirms in that order, too. */
    #changes = [];
    /** The present attempt or connection. Whatever else still calls is of an earlier one. */
    #link = null;
    #failures = 0;
    /** One for all that is waited for: the greeting, silence, an answer, the next attempt. */
    #timer;
    /** Ids of messages to the time at which they expire, or null once that was said. */
    #messages = new Map();
    #expiryTimer;
    #expiryAt = Infinity;
    /** How far the server's clock is ahead of this machine's. */
    #aheadMs = 0;
    #wake = () => document.hidden || this.#hurry();
    #online = () => this.#hurry();

    constructor(options) {
      this.#options = { WebSocket: globalThis.WebSocket, ...options };
      if (!this.#options.WebSocket) throw new TypeError('mayfly: there is no WebSocket here');
      this.#address = new URL(options.url || '/v1/live', globalThis.location?.href);
      this.#address.protocol = this.#address.protocol.replace('http', 'ws');
      if (this.#address.pathname === '/') this.#address.pathname = '/v1/live';
      this.#position = options.since || null;
      const nothing = { channels: null, feeds: new Set(), videos: new Set(), hosts: new Set() };
      const names = { feeds: ['messages'], ...check(options) };
      this.#wanted = count(change(nothing, { type: 'subscribe', names }));
      globalThis.addEventListener?.('online', this.#online);
      globalThis.document?.addEventListener('visibilitychange', this.#wake);
      // Whoever has just called can listen before anything happens.
      queueMicrotask(() => this.#state.state === 'closed' || this.#connect());
    }

    /** The position to hand back as `since`; null until there is one. */
    get position() {
      return this.#position;
    }

    /** What the last `state` event said. */
    get state() {
      return this.#state;
    }

    /** The server's time as far as it is known, in milliseconds since 1970. */
    get now() {
      return Date.now() + this.#aheadMs;
    }

    /** Calls a function at every event of a kind; gives a function that ends this. */
    on(event, listener) {
      if (!EVENTS.includes(event)) throw new TypeError(`mayfly: there is no event ${event}`);
      const listeners = this.#listeners.get(event) ?? new Set();
      this.#listeners.set(event, listeners.add(listener));
      return () => listeners.delete(listener);
    }

    /** Adds channels, feeds, videos, hosts. True as soon as the server has them. */
    subscribe(names) {
      return this.#ask('subscribe', names);
    }

    /** Removes channels, feeds, videos, hosts. */
    unsubscribe(names) {
      return this.#ask('unsubscribe', names);
    }

    /** Ends it for good. */
    close() {
      this.#end(1000, '');
    }

    async #connect() {
      const link = (this.#link = { socket: null, openedAt: 0, heardAt: 0, pinged: false, carried: [] });
      clearTimeout(this.#timer);
      this.#enter({ state: 'connecting' });
      try {
        const { token, WebSocket } = this.#options;
        const shown = typeof token === 'function' ? await token() : token;
        if (this.#link !== link) return;
        link.carried = [...this.#changes];
        link.socket = new WebSocket(this.#locate(link, shown));
      } catch (error) {
        if (this.#link === link) this.#lose(1006, String(error));
        return;
      }
      link.socket.onmessage = ({ data }) => this.#link === link && this.#read(data);
      link.socket.onclose = ({ code, reason }) => this.#link === link && this.#lose(code, reason);
      this.#later(ANSWER_MS, () => this.#lose(1006, 'no greeting'));
    }

    /** Gives the address with everything that is wanted, as the server is to know it from the start. */
    #locate(link, token) {
      const url = new URL(this.#address);
      const wanted = link.carried.reduce(change, this.#wanted);
      const asked = (key, value) => value && url.searchParams.append(key, value);
      for (const [kind, names] of Object.entries(wanted)) {
        for (const name of names ?? []) asked(kind.slice(0, -1), name);
      }
      // An address cannot say "none", so something is named here and taken back afterwards.
      link.takenBack = {};
      if (wanted.feeds.size === 0) link.takenBack.feeds = ['messages'];
      if (wanted.channels?.size === 0) asked('channel', (link.takenBack.channels = ['-'])[0]);
      asked('since', this.#position);
      asked('token', token);
      return url.href;
    }

    #read(data) {
      this.#link.heardAt = performance.now();
      let frame;
      try {
        frame = JSON.parse(data);
      } catch {
        return;
      }
      const moves = ['message', 'expired', 'position'];
      if (moves.includes(frame.type)) this.#position = frame.position;
      switch (frame.type) {
        case 'hello':
          return this.#greet(frame);
        case 'message':
          return this.#show(frame);
        case 'expired':
          for (const id of frame.ids) this.#messages.has(id) && this.#messages.set(id, null);
          return this.#emit('expired', { ...frame, by_time: false });
        case 'subscribed':
        case 'unsubscribed':
          return this.#settle(true);
        case 'error':
          this.#settle(false);
          return this.#emit('error', frame);
        default:
          if (PLAIN.includes(frame.type)) this.#emit(frame.type, frame);
      }
    }

    #greet(frame) {
      const link = this.#link;
      this.#position = frame.position;
      if (frame.time) this.#setClock(Date.parse(frame.time));
      if (!link.openedAt) {
        link.openedAt = link.heardAt;
        link.pingMs = frame.ping_interval_ms || 25_000;
        for (const _ of link.carried) this.#settle(true);
        if (Object.keys(link.takenBack).length) {
          this.#changes.unshift({ type: 'unsubscribe', names: link.takenBack, settle() {} });
        }
        for (const asked of this.#changes) this.#send(asked);
        this.#listen();
        this.#enter({ state: 'open', connection: frame.connection });
      }
      if (this.#link === link && 'resumed' in frame) this.#emit('resumed', frame);
    }

    #show(frame) {
      const { message } = frame;
      const { channels, feeds } = this.#changes.reduce(change, this.#wanted);
      const wanted = feeds.has('messages') && (!channels || channels.has(message.channel));
      if (!wanted || this.#messages.has(message.id)) return;
      // What was just made cannot lie in the future: this clock is slow.
      const created = Date.parse(message.created_at);
      if (created > this.now) this.#setClock(created);
      const expires = Date.parse(message.expires_at);
      this.#messages.set(message.id, expires);
      if (this.#messages.size > MESSAGES_MAX) {
        this.#messages.delete(this.#messages.keys().next().value);
      }
      this.#emit('message', message, frame);
      this.#expireAt(expires);
    }

    #setClock(now) {
      this.#aheadMs = now - Date.now();
      this.#expireAt(now);
    }

    /** Looks at that time for what has expired, unless it will look earlier. */
    #expireAt(time) {
      if (time >= this.#expiryAt || this.#state.state === 'closed') return;
      this.#expiryAt = time;
      clearTimeout(this.#expiryTimer);
      const ms = Math.min(Math.max(time - this.now, EXPIRY_MS_LEAST), TIMER_MS_MAX);
      this.#expiryTimer = setTimeout(() => this.#expire(), ms);
    }

    #expire() {
      const [now, ids] = [this.now, []];
      let next = Infinity;
      for (const [id, expires] of this.#messages) {
        if (expires === null) continue;
        if (expires <= now) ids.push(id);
        else next = Math.min(next, expires);
      }
      for (const id of ids) this.#messages.set(id, null);
      this.#expiryAt = Infinity;
      if (next < Infinity) this.#expireAt(next);
      if (ids.length) this.#emit('expired', { type: 'expired', ids, by_time: true });
    }

    /** Pings when the server has been silent for its interval. A browser does not show pings of its own. */
    #listen() {
      const link = this.#link;
      link.pinged = false;
      const silentMs = performance.now() - link.heardAt;
      if (silentMs >= link.pingMs) this.#ping();
      else this.#later(link.pingMs - silentMs, () => this.#listen());
    }

    #ping() {
      const link = this.#link;
      const pingedAt = performance.now();
      link.pinged = true;
      this.#send({ type: 'ping' });
      this.#later(ANSWER_MS, () =>
        link.heardAt >= pingedAt ? this.#listen() : this.#lose(1006, 'no answer'));
    }

    /** The network is back, or somebody looks again: finds out at once how things are. */
    #hurry() {
      if (this.#state.state === 'waiting' && !this.#state.asked) this.#connect();
      if (this.#link?.openedAt && !this.#link.pinged) this.#ping();
      this.#expireAt(this.now);
    }

    #lose(code, reason) {
      // Codes of this range say that trying again is of no use.
      if (code >= 4500 && code <= 4999) return this.#end(code, reason);
      const { openedAt } = this.#leave();
      if (openedAt && performance.now() - openedAt > STEADY_MS) this.#failures = 0;
      const most = Math.min(PAUSE_MS_MAX, 2 * PAUSE_MS_LEAST * 2 ** this.#failures++);
      const drawn = PAUSE_MS_LEAST + Math.random() * (most - PAUSE_MS_LEAST);
      const asked = /retry_after_ms=(\d+)/.exec(reason);
      const delay_ms = Math.min(asked ? Number(asked[1]) : Math.round(drawn), TIMER_MS_MAX);
      this.#later(delay_ms, () => this.#connect());
      this.#enter({ state: 'waiting', delay_ms, asked: Boolean(asked), code, reason });
    }

    #end(code, reason) {
      if (this.#state.state === 'closed') return;
      this.#leave();
      clearTimeout(this.#expiryTimer);
      globalThis.removeEventListener?.('online', this.#online);
      globalThis.document?.removeEventListener('visibilitychange', this.#wake);
      this.#enter({ state: 'closed', code, reason });
      while (this.#changes.length) this.#settle(false);
    }

    /** Leaves the present connection, if there is one, without waiting for its end. */
    #leave() {
      const link = this.#link ?? {};
      this.#link = null;
      clearTimeout(this.#timer);
      link.socket?.close(1000);
      return link;
    }

    #ask(type, names) {
      if (typeof names === 'string' || Array.isArray(names)) names = { channels: names };
      const asked = split(check(names)).map((part) => ({ type, names: part }));
      count(asked.reduce(change, this.#changes.reduce(change, this.#wanted)));
      if (this.#state.state === 'closed') return Promise.resolve(false);
      const settled = asked.map((one) => new Promise((settle) => (one.settle = settle)));
      this.#changes.push(...asked);
      if (this.#link?.openedAt) asked.forEach((one) => this.#send(one));
      return Promise.all(settled).then((all) => all.every(Boolean));
    }

    /** The oldest change is in force, or refused. */
    #settle(done) {
      const asked = this.#changes.shift();
      if (asked && done) this.#wanted = change(this.#wanted, asked);
      asked?.settle(done);
    }

    #send({ type, names }) {
      this.#link.socket.send(JSON.stringify({ type, ...names }));
    }

    #later(ms, then) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(then, ms);
    }

    #enter(state) {
      this.#state = state;
      this.#emit('state', state);
    }

    /** A listener that fails harms neither the others nor the connection. */
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

  /** Gives lists of names by kind, checked; a single name is a list, too. */
  function check(given = {}) {
    const names = {};
    // In this order: the server takes the feed `rising` only with a host.
    for (const kind of ['channels', 'videos', 'hosts', 'feeds']) {
      let list = [].concat(given[kind] ?? []);
      // The server names them so, whatever they were given as.
      if (kind === 'hosts') list = list.map((host) => String(host).toLowerCase());
      if (list.length) names[kind] = list;
    }
    const bad =
      names.channels?.find((name) => !CHANNEL.test(name)) ??
      names.feeds?.find((name) => !FEEDS.includes(name));
    if (bad !== undefined) throw new TypeError(`mayfly: bad name: ${bad}`);
    return names;
  }

  /** Throws where more is wanted than the server takes. */
  function count(wanted) {
    for (const [kind, names] of Object.entries(wanted)) {
      if (names?.size > NAMES_MAX) throw new RangeError(`mayfly: at most ${NAMES_MAX} ${kind}`);
    }
    return wanted;
  }

  /** Splits names into parts of which each fits into a frame. */
  function split(names) {
    const parts = [];
    let bytes = Infinity;
    for (const [kind, list] of Object.entries(names)) {
      for (const name of list) {
        const more = 3 * JSON.stringify(name).length;
        if (bytes + more > NAMES_BYTES_MAX) bytes = parts.push({}) * 0;
        bytes += more;
        (parts.at(-1)[kind] ??= []).push(name);
      }
    }
    return parts;
  }

  /** Gives what is wanted after a change. All channels are left only by naming some. */
  function change(wanted, { type, names }) {
    const after = { ...wanted };
    for (const [kind, list] of Object.entries(names)) {
      if (type === 'subscribe') after[kind] = new Set([...(wanted[kind] ?? []), ...list]);
      else if (wanted[kind]) after[kind] = new Set([...wanted[kind]].filter((name) => !list.includes(name)));
    }
    return after;
  }

  globalThis.mayfly = { connect: (options = {}) => new Live(options) };
})();

// A script reads the next line as `typeof await / []`, of a variable that is not there; a module reads it as an
// awaited regular expression, and goes on to the exports, which a script takes for a comment.
typeof await /[/*]/; export const { connect } = globalThis.mayfly; export default globalThis.mayfly; // */];
