// The connection: states, reconnecting, positions and pings.

addCases({
  async 'reports every state'(world) {
    const { live, events, states } = await world.connect();
    world.socket.receiveHello();
    assertEqual(events('state').at(-1), { state: 'open', connection: 'c1' }, 'open');
    world.socket.disconnect(1006);
    await world.advance(1000);
    world.socket.receiveHello({ resumed: true });
    live.close();
    assertEqual(
      states(),
      ['connecting', 'open', 'waiting', 'connecting', 'open', 'closed'],
      'states',
    );
    assertEqual(
      [live.state.code, world.socket.isOpen, world.countTimers(), world.countListeners()],
      [1000, false, 0, 0],
      'everything is released',
    );
  },

  async 'reconnects with its position'(world) {
    const { live, events } = await world.connect();
    assertEqual(
      [live.position, world.socket.connectFrame.since],
      [null, undefined],
      'no position yet',
    );
    world.socket.receiveHello({ position: 'p1' });
    world.socket.receiveMessage('m1', { position: 'p2' });
    world.socket.receive({ type: 'position', position: 'p3' });
    world.socket.receive({ type: 'gap', dropped: 12, position: 'p2' });
    assertEqual(
      [live.position, events('gap')[0].dropped],
      ['p3', 12],
      'a gap does not change the position',
    );
    await world.reconnect();
    assertEqual(world.socket.connectFrame.since, 'p3', 'since');
    world.socket.receiveHello({ position: 'p9', resumed: false, reason: 'window' });
    assertEqual([live.position, events('resumed')[0].reason], ['p9', 'window'], 'not resumed');
    world.socket.receiveHello({ position: 'p12', resumed: false, reason: 'data_lost' });
    assertEqual(
      [live.position, events('resumed')[1].reason],
      ['p12', 'data_lost'],
      'on an open connection',
    );
  },

  async 'drops duplicates'(world) {
    const { events } = await world.connect();
    world.socket.receiveHello();
    world.socket.receiveMessage('m1');
    world.socket.receiveMessage('m2');
    await world.reconnect();
    world.socket.receiveHello({ resumed: true });
    for (const id of ['m1', 'm2', 'm3']) world.socket.receiveMessage(id);
    assertEqual(
      events('message').map(({ id }) => id),
      ['m1', 'm2', 'm3'],
      'each message once',
    );
  },

  async 'waits between 0.5 and 30 seconds before a reconnect'(world) {
    const { live, events } = await world.connect();
    for (let attempt = 0; attempt < 60; attempt++) {
      world.socket.disconnect(1006);
      await world.advance(live.state.delay_ms);
    }
    const delays = events('state')
      .filter(({ state }) => state === 'waiting')
      .map(({ delay_ms }) => delay_ms);
    assertEqual([delays.length, world.sockets.length], [60, 61], 'attempts');
    assertEqual(
      [delays[0] <= 1000, Math.min(...delays) >= 500, Math.max(...delays) <= 30_000],
      [true, true, true],
      String(delays),
    );
    assertEqual(
      Math.max(...delays) > 15_000 && new Set(delays).size > 40,
      true,
      `the delays vary: ${delays}`,
    );
  },

  async 'waits as long as the server requests'(world) {
    const { events } = await world.connect();
    world.socket.receiveHello();
    world.socket.disconnect(1001, 'retry_after_ms=7421');
    assertEqual(events('state').at(-1).delay_ms, 7421, 'delay');
    world.dispatch('online');
    await world.advance(7420);
    assertEqual(world.sockets.length, 1, 'not earlier, even if the network recovers');
    await world.advance(1);
    assertEqual(world.sockets.length, 2, 'in time');
  },

  async 'reconnects depending on the close code'(world) {
    for (const code of [1000, 1001, 1006, 1009, 1011, 4000, 4001, 4002, 4003, 4499, 5000]) {
      const { live } = await world.connect();
      world.socket.disconnect(code);
      assertEqual(live.state.state, 'waiting', code);
      live.close();
    }
    for (const code of [4500, 4501, 4502, 4503, 4999]) {
      const { live } = await world.connect();
      world.socket.disconnect(code, 'reason');
      assertEqual(live.state, { state: 'closed', code, reason: 'reason' }, code);
      const sockets = world.sockets.length;
      await world.advance(120_000);
      assertEqual(world.sockets.length, sockets, 'does not reconnect');
    }
  },

  async 'reconnects immediately when the network recovers'(world) {
    const { live } = await world.connect();
    for (let failure = 0; failure < 5; failure++) {
      world.socket.disconnect(1006);
      if (failure < 4) await world.advance(live.state.delay_ms);
    }
    world.dispatch('online');
    await world.flush();
    assertEqual(world.sockets.length, 6, 'immediately');
    await world.advance(9000);
    assertEqual(world.sockets.length, 6, 'only once');
  },

  async 'pings a silent server and disconnects from a dead one'(world) {
    const { states } = await world.connect();
    const { socket } = world;
    socket.receiveHello();
    await world.advance(20_000);
    socket.receiveMessage('m1');
    await world.advance(24_000);
    assertEqual(socket.sent, [], 'a message shows that the server is alive');
    await world.advance(1500);
    assertEqual(socket.sent, [{ type: 'ping' }], 'pinged');
    socket.receive({ type: 'pong' });
    await world.advance(25_000);
    assertEqual(socket.sent.length, 2, 'pinged again');
    await world.advance(10_000);
    assertEqual([states().includes('waiting'), socket.isOpen], [true, false], 'disconnected');
    await world.advance(1000);
    assertEqual(world.sockets.length, 2, 'reconnected');
    socket.receiveMessage('late');
  },

  async 'limits timers to what a browser supports'(world) {
    const { live } = await world.connect();
    world.socket.receiveHello({ ping_interval_ms: 2 ** 33 });
    await world.advance(1000);
    assertEqual(world.socket.sent, [], 'no ping');
    world.socket.disconnect(1001, 'retry_after_ms=99999999999999');
    await world.advance(1000);
    assertEqual([live.state.state, world.sockets.length], ['waiting', 1], 'no reconnect');
  },

  async 'reconnects if its first frame was late'(world) {
    const { live } = await world.connect();
    const { socket } = world;
    socket.receive({ type: 'error', code: 'request_timeout', message: 'late' });
    socket.disconnect(4500, 'late');
    assertEqual([live.state.state, socket.isOpen], ['waiting', false], 'not final');
  },

  async 'reconnects if there is no hello frame'(world) {
    await world.connect();
    await world.advance(9999);
    assertEqual(world.sockets.length, 1, 'waits');
    await world.advance(1001);
    assertEqual(world.sockets.length, 2, 'reconnects');
  },

  async 'can be closed while it connects'(world) {
    /** @type {(token: string) => void} */
    let resolve = () => {};
    const { live } = await world.connect({ token: () => new Promise((done) => (resolve = done)) });
    live.close();
    resolve('late');
    await world.advance(60_000);
    assertEqual([world.sockets.length, world.countTimers()], [0, 0], 'without a token');
    const other = await world.connect();
    const { socket } = world;
    other.live.close();
    assertEqual([socket.isOpen, other.states()], [false, ['connecting', 'closed']], 'no hello yet');
    socket.receiveHello();
    socket.receiveMessage('late');
    await world.advance(60_000);
    assertEqual([world.sockets.length, other.events('message')], [1, []], 'stays closed');
    // A client that is closed immediately never connects.
    mayfly.connect({ url: 'http://live.example', WebSocket: world.Socket }).close();
    await world.flush();
    assertEqual([world.sockets.length, world.countTimers(), world.countListeners()], [1, 0, 0], '');
  },

  async 'closes if the environment forbids the URL'(world) {
    class Forbidden {
      constructor() {
        throw new DOMException('insecure', 'SecurityError');
      }
    }
    const { live } = await world.connect({ WebSocket: /** @type {any} */ (Forbidden) });
    assertEqual([live.state.state, live.state.reason], ['closed', 'SecurityError: insecure'], '');
    assertEqual(world.countTimers(), 0, 'does not retry');
  },

  async 'handles errors of the socket'(world) {
    await world.connect();
    assertEqual(typeof (/** @type {any} */ (world.socket).onerror), 'function', 'a handler');
  },

  async 'checks the connection when a page is shown again'(world) {
    const { live } = await world.connect();
    world.socket.receiveHello();
    world.dispatch('pageshow', { persisted: false });
    assertEqual(world.socket.sent, [], 'the first display of the page');
    for (const [event, details] of [
      ['pageshow', { persisted: true }],
      ['resume', {}],
      ['visibilitychange', {}],
    ]) {
      world.dispatch(String(event), /** @type {object} */ (details));
      assertEqual(world.socket.sent.pop(), { type: 'ping' }, event);
      world.socket.receive({ type: 'pong' });
      await world.advance(10_000);
    }
    world.socket.disconnect(1006);
    world.dispatch('pageshow', { persisted: true });
    await world.flush();
    assertEqual(live.state.state, 'connecting', 'immediately');
  },
});
