// A clock, a network and a server for mayfly.js that are controlled by the test.

globalThis.cases = {};
/** @type {(more: Record<string, (world: World) => Promise<void>>) => void} */
globalThis.addCases = (more) => {
  Object.assign(cases, more);
};

globalThis.makeWorld = () => {
  const start = Date.UTC(2026, 10, 20, 19, 7);
  let elapsed = 1000;
  let slept = 0;
  let lastTimer = 0;
  /** @type {Map<number, { at: number, call: () => void }>} */
  const timers = new Map();
  /** @type {Map<string, (event: object) => void>} */
  const listeners = new Map();
  const serverNow = () => start + elapsed + slept;

  Date.now = () => serverNow() + world.clockSkewMs;
  performance.now = () => elapsed;
  const target = {
    addEventListener: (/** @type {string} */ event, /** @type {() => void} */ call) =>
      listeners.set(event, call),
    removeEventListener: (/** @type {string} */ event) => listeners.delete(event),
  };
  Object.assign(document, target);
  Object.assign(globalThis, target, {
    setTimeout(/** @type {() => void} */ call, ms = 0) {
      if (!(ms <= 2 ** 31 - 1)) throw new Error(`a timer of ${ms} ms would fire immediately`);
      timers.set(++lastTimer, { at: elapsed + Math.max(0, ms), call });
      return lastTimer;
    },
    clearTimeout: (/** @type {number} */ timer) => timers.delete(timer),
  });

  /** @implements {FakeSocket} */
  class Socket {
    /** @type {any[]} */
    #frames = [];
    /** The number of answered frames, including the first one. */
    #answered = 1;
    isOpen = true;
    onopen = () => {};
    /** @type {(event: { data: string }) => void} */
    onmessage = () => {};
    /** @type {(event: { code: number, reason: string }) => void} */
    onclose = () => {};

    /** @param {string} url */
    constructor(url) {
      this.url = url;
      world.sockets.push(this);
      queueMicrotask(() => this.onopen());
    }

    get connectFrame() {
      return this.#frames[0];
    }

    get sent() {
      return this.#frames.slice(1);
    }

    /** @param {string} text */
    send(text) {
      const bytes = new TextEncoder().encode(text).length;
      const bytesMax = this.#frames.length ? 4096 : 65_536;
      if (bytes > bytesMax) throw new Error(`a frame of ${bytes} bytes`);
      this.#frames.push(JSON.parse(text));
    }

    close() {
      this.isOpen = false;
    }

    // Actions of the server.

    /** @param {object} frame */
    receive(frame) {
      this.onmessage({ data: JSON.stringify(frame) });
    }

    receiveHello(more = {}) {
      const hello = { connection: 'c1', position: 'p0', ping_interval_ms: 25000 };
      this.receive({ type: 'hello', ...hello, time: world.serverTime, ...more });
    }

    /** @param {string} id */
    receiveMessage(
      id,
      { ttl = 60, position = `p-${id}`, channel = 'lobby', ageMs = 0, clockMs = 0 } = {},
    ) {
      const created = serverNow() - ageMs + clockMs;
      const created_at = new Date(created).toISOString();
      const expires_at = new Date(created + ttl * 1000).toISOString();
      const message = { id, channel, created_at, expires_at };
      this.receive({ type: 'message', position, message });
    }

    confirm() {
      const { type } = this.#frames[this.#answered++];
      this.receive({ type: `${type}d` });
    }

    /** @param {string} code */
    refuse(code, more = {}) {
      this.#answered++;
      this.receive({ type: 'error', code, message: 'no', ...more });
    }

    /** @param {number} lifetimeMs */
    authenticate(lifetimeMs) {
      this.#answered++;
      this.receive({ type: 'authenticated', expires_at: world.findTime(lifetimeMs) });
    }

    /** @param {number} code */
    disconnect(code, reason = '') {
      this.isOpen = false;
      this.onclose({ code, reason });
    }
  }

  const flush = async () => {
    for (let turn = 0; turn < 8; turn++) await null;
  };
  /** @type {World} */
  const world = {
    sockets: [],
    clockSkewMs: 0,
    Socket,
    flush,
    dispatch: (event, details = {}) => listeners.get(event)?.(details),
    countListeners: () => listeners.size,
    countTimers: () => timers.size,
    get socket() {
      return world.sockets[world.sockets.length - 1];
    },
    get serverTime() {
      return world.findTime(0);
    },
    findTime: (ms) => new Date(serverNow() + ms).toISOString(),

    async advance(ms) {
      const end = elapsed + ms;
      for (;;) {
        await flush();
        const next = [...timers].sort(([, a], [, b]) => a.at - b.at)[0];
        if (!next || next[1].at > end) break;
        timers.delete(next[0]);
        elapsed = Math.max(elapsed, next[1].at);
        next[1].call();
      }
      elapsed = end;
      await flush();
    },

    sleep(ms) {
      slept += ms;
    },

    async connect(options = {}) {
      const live = mayfly.connect({
        url: 'http://live.example',
        WebSocket: world.Socket,
        ...options,
      });
      /** @type {{ event: string, details: any }[]} */
      const received = [];
      /** @type {(keyof import('../../../../web/client/mayfly.js').Events)[]} */
      const types = ['message', 'expired', 'gap', 'resumed', 'state', 'error', 'plays', 'rising'];
      for (const event of types) {
        live.on(event, (/** @type {any} */ details) => received.push({ event, details }));
      }
      /** @param {string} event */
      const events = (event) =>
        received.filter((one) => one.event === event).map(({ details }) => details);
      await flush();
      return { live, events, states: () => events('state').map(({ state }) => state) };
    },

    async reconnect(offlineMs = 0) {
      world.socket.disconnect(1006);
      await world.advance(offlineMs);
      world.dispatch('online');
      await flush();
    },
  };
  return world;
};

/** @type {(actual: unknown, expected: unknown, message: unknown) => void} */
globalThis.assertEqual = (actual, expected, message) => {
  const [a, b] = [actual, expected].map((value) => JSON.stringify(value));
  if (a !== b) throw new Error(`${message}: expected ${b}, got ${a}`);
};

/** @type {(call: () => unknown) => Promise<(Error & { code?: string }) | null>} */
globalThis.findError = async (call) => {
  try {
    await call();
  } catch (error) {
    if (error instanceof Error) return error;
    throw new Error(`not an error: ${error}`);
  }
  return null;
};
