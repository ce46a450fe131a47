// A clock, a network and a server for mayfly.js that a test turns by hand.

globalThis.makeWorld = () => {
  const start = Date.UTC(2026, 10, 20, 19, 7);
  let elapsed = 1000;
  let lastTimer = 0;
  const timers = new Map();
  const listeners = new Map();

  Date.now = () => start + world.skew + elapsed;
  performance.now = () => elapsed;
  globalThis.setTimeout = (call, ms = 0) => {
    if (ms > 2 ** 31 - 1) throw new Error(`a timer of ${ms} ms would fire at once`);
    timers.set(++lastTimer, { at: elapsed + Math.max(0, ms), call });
    return lastTimer;
  };
  globalThis.clearTimeout = (timer) => timers.delete(timer);
  globalThis.addEventListener = (event, call) => listeners.set(event, call);
  globalThis.removeEventListener = (event) => listeners.delete(event);

  class FakeSocket {
    sent = [];
    open = true;
    constructor(url) {
      if (world.refuses) throw new Error('refused');
      this.url = new URL(url);
      this.query = (key) => this.url.searchParams.getAll(key);
      world.sockets.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close() {
      this.open = false;
    }
    // From here on: what the server does.
    say(frame) {
      this.onmessage({ data: JSON.stringify(frame) });
    }
    greet(more = {}) {
      this.say({ type: 'hello', connection: 'c1', position: 'p0', ping_interval_ms: 25000, ...more });
    }
    message(id, { ttl = 60, age = 0, position = `p-${id}`, channel = 'lobby' } = {}) {
      const created = start + elapsed - age * 1000;
      const [created_at, expires_at] = [created, created + ttl * 1000].map((ms) => new Date(ms).toISOString());
      this.say({ type: 'message', position, message: { id, channel, created_at, expires_at } });
    }
    drop(code, reason = '') {
      this.open = false;
      this.onclose({ code, reason });
    }
  }

  const settle = async () => {
    for (let turn = 0; turn < 8; turn++) await null;
  };
  const world = {
    sockets: [],
    skew: 0,
    refuses: false,
    FakeSocket,
    settle,
    fire: (event) => listeners.get(event)?.(),
    listening: () => listeners.size,
    timers: () => timers.size,
    get socket() {
      return world.sockets.at(-1);
    },
    /** Lets time pass, timer by timer. */
    async pass(ms) {
      const end = elapsed + ms;
      for (;;) {
        await settle();
        const next = [...timers].sort((a, b) => a[1].at - b[1].at)[0];
        if (!next || next[1].at > end) break;
        timers.delete(next[0]);
        elapsed = Math.max(elapsed, next[1].at);
        next[1].call();
      }
      elapsed = end;
      await settle();
    },
    /** Connects, and notes every event. */
    async connect(options = {}) {
      const live = mayfly.connect({ url: 'http://live.example', WebSocket: FakeSocket, ...options });
      const seen = [];
      for (const event of ['message', 'expired', 'gap', 'resumed', 'state', 'error', 'plays', 'rising']) {
        live.on(event, (what) => seen.push({ event, what }));
      }
      const of = (event) => seen.filter((one) => one.event === event).map((one) => one.what);
      await settle();
      return { live, seen, of, states: () => of('state').map(({ state }) => state) };
    },
  };
  return world;
};

globalThis.same = (is, should, what) => {
  const [a, b] = [is, should].map((value) => JSON.stringify(value));
  if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`);
};
