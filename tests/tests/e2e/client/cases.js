// The tests of mayfly.js, by name.

/** @type {Record<string, (world: World) => Promise<void>>} */
globalThis.cases = {
  async 'sends subscriptions, position and token in the URL'(world) {
    await world.connect({
      channels: ['a', 'b'],
      feeds: 'plays',
      videos: ['v&1'],
      since: 'p7',
      token: async () => 't',
    });
    const { socket } = world;
    assertEqual(socket.url.origin + socket.url.pathname, 'ws://live.example/v1/live', 'URL');
    const query = ['channel', 'feed', 'video', 'host', 'since', 'token'].map((key) =>
      socket.query(key),
    );
    assertEqual(query, [['a', 'b'], ['plays'], ['v&1'], [], ['p7'], ['t']], 'query parameters');
  },

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
    assertEqual([live.position, world.socket.query('since')], [null, []], 'no position yet');
    world.socket.receiveHello({ position: 'p1' });
    world.socket.receiveMessage('m1', { position: 'p2' });
    world.socket.receive({ type: 'position', position: 'p3' });
    world.socket.receive({ type: 'gap', dropped: 12, position: 'p2' });
    assertEqual(
      [live.position, events('gap')[0].dropped],
      ['p3', 12],
      'a gap does not change the position',
    );
    world.socket.disconnect(1006);
    await world.advance(1000);
    assertEqual(world.socket.query('since'), ['p3'], 'since');
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
    world.socket.disconnect(1006);
    await world.advance(1000);
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
    assertEqual(world.sockets.length, 1, 'not earlier, even if the network is back');
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

  async 'reconnects immediately when the network is back'(world) {
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

  async 'reconnects if there is no hello frame'(world) {
    await world.connect();
    await world.advance(9999);
    assertEqual(world.sockets.length, 1, 'waits');
    await world.advance(1001);
    assertEqual(world.sockets.length, 2, 'reconnects');
  },

  async 'reports expired messages'(world) {
    const { events } = await world.connect();
    const ids = () => events('expired').map((expired) => [expired.ids, expired.by_time]);
    world.socket.receiveHello();
    world.socket.receiveMessage('long', { ttl: 604_800 });
    world.socket.receiveMessage('short', { ttl: 2 });
    world.socket.receiveMessage('other', { ttl: 2 });
    world.socket.receiveMessage('taken', { ttl: 3 });
    world.socket.receiveMessage('born expired', { ttl: 0 });
    assertEqual(events('message').at(-1).id, 'born expired', 'reported as a message first');
    await world.advance(1900);
    assertEqual(ids(), [[['born expired'], true]], 'the others are live');
    await world.advance(200);
    assertEqual(ids()[1], [['short', 'other'], true], 'by time, together');
    world.socket.receive({ type: 'expired', position: 'p9', ids: ['taken', 'unknown'] });
    assertEqual(ids()[2], [['taken', 'unknown'], false], 'by the server');
    await world.advance(60_000);
    assertEqual(ids().length, 3, 'none twice');
    await world.advance(604_800_000);
    assertEqual(ids()[3], [['long'], true], 'after seven days');
  },

  async 'reports expiry beyond the longest timer'(world) {
    const { events } = await world.connect();
    world.socket.receiveHello();
    world.socket.receiveMessage('m1', { ttl: 60 * 86_400 });
    await world.advance(59 * 86_400_000);
    assertEqual(events('expired'), [], 'live');
    await world.advance(86_400_100);
    assertEqual(events('expired').length, 1, 'expired');
  },

  async "uses the server's clock"(world) {
    for (const skew of [-300_000, 300_000]) {
      world.clockSkewMs = skew;
      const { live, events } = await world.connect();
      world.socket.receiveHello({ time: new Date(Date.now() - skew).toISOString() });
      world.socket.receiveMessage(`m${skew}`, { ttl: 10 });
      await world.advance(9900);
      assertEqual(events('expired'), [], `${skew}: live`);
      await world.advance(200);
      assertEqual(events('expired').length, 1, `${skew}: expired`);
      live.close();
    }
    world.clockSkewMs = -300_000;
    const { events } = await world.connect();
    world.socket.receiveHello();
    world.socket.receiveMessage('m1', { ttl: 10 });
    await world.advance(10_100);
    assertEqual(events('expired').length, 1, 'a new message reveals a slow clock');
  },

  async 'limits the messages it remembers'(world) {
    const { events } = await world.connect();
    world.socket.receiveHello();
    for (let n = 0; n < 20_005; n++) world.socket.receiveMessage(`m${n}`);
    await world.advance(61_000);
    assertEqual(events('expired').flatMap(({ ids }) => ids).length, 20_000, 'the newest expire');
  },

  async 'keeps subscriptions when it reconnects'(world) {
    const { live, events } = await world.connect({ channels: ['a'] });
    const subscribed = live.subscribe({ channels: ['b'] });
    assertEqual(world.socket.sent, [], 'nothing before the hello frame');
    world.socket.receiveHello();
    assertEqual(
      world.socket.sent,
      [{ type: 'subscribe', channels: ['b'] }],
      'immediately after it',
    );
    const unsubscribed = live.unsubscribe({ channels: ['a'] });
    world.socket.receive({ type: 'subscribed', channels: ['a', 'b'] });
    assertEqual(await subscribed, true, 'confirmed');
    world.socket.receiveMessage('from a', { channel: 'a' });
    assertEqual(events('message'), [], 'unsubscribed messages are not reported');
    world.socket.disconnect(1006);
    await world.advance(1000);
    assertEqual(world.socket.query('channel'), ['b'], 'in the URL');
    world.socket.receiveHello({ resumed: true });
    assertEqual([await unsubscribed, world.socket.sent], [true, []], 'nothing is left to send');
    const refused = live.subscribe({ hosts: ['x'] });
    world.socket.receive({ type: 'error', code: 'invalid_field', message: 'no' });
    assertEqual([await refused, events('error')[0].code], [false, 'invalid_field'], 'refused');
    world.socket.disconnect(1006);
    await world.advance(1000);
    assertEqual(world.socket.query('host'), [], 'and not requested again');
    const pending = live.subscribe('c');
    live.close();
    assertEqual([await pending, await live.subscribe('d')], [false, false], 'closed');
  },

  async 'sends hosts in lower case'(world) {
    const { live, events } = await world.connect({ feeds: 'rising', hosts: 'One.example' });
    assertEqual(world.socket.query('host'), ['one.example'], 'in the URL');
    world.socket.receiveHello();
    live.subscribe({ hosts: ['Two.example'] });
    world.socket.receive({ type: 'subscribed', hosts: ['one.example', 'two.example'] });
    live.unsubscribe({ hosts: 'ONE.example' });
    const asked = [
      ['subscribe', 'two.example'],
      ['unsubscribe', 'one.example'],
    ];
    assertEqual(
      world.socket.sent,
      asked.map(([type, host]) => ({ type, hosts: [host] })),
      'in frames',
    );
    world.socket.receive({ type: 'unsubscribed', hosts: ['two.example'] });
    world.socket.receive({ type: 'rising', host: 'two.example', pages: [] });
    assertEqual(
      events('rising').map(({ host }) => host),
      ['two.example'],
      'in received frames',
    );
    world.socket.disconnect(1006);
    await world.advance(1000);
    assertEqual(world.socket.query('host'), ['two.example'], 'after a reconnect');
  },

  async 'keeps an emptied set empty'(world) {
    const { live, events } = await world.connect({ channels: ['a'] });
    world.socket.receiveHello();
    live.unsubscribe({ channels: ['a'] });
    world.socket.receive({ type: 'unsubscribed', channels: [] });
    world.socket.disconnect(1006);
    await world.advance(1000);
    const [placeholder] = world.socket.query('channel');
    assertEqual(Boolean(placeholder), true, 'no channel would mean all channels');
    world.socket.receiveHello({ resumed: true });
    world.socket.receiveMessage('stray', { channel: placeholder });
    assertEqual(
      [events('message'), world.socket.sent],
      [[], [{ type: 'unsubscribe', channels: [placeholder] }]],
      'empty',
    );
    world.socket.receive({ type: 'unsubscribed', channels: [] });
    const b = live.subscribe('b');
    world.socket.receive({ type: 'subscribed', channels: ['b'] });
    world.socket.receiveMessage('from b', { channel: 'b' });
    assertEqual([await b, events('message').length], [true, 1], 'until a channel is added');
  },

  async 'splits long frames and rejects invalid names'(world) {
    const { live } = await world.connect();
    world.socket.receiveHello();
    const channels = Array.from({ length: 128 }, (_, n) => String(n).padStart(64, 'x'));
    live.subscribe({
      channels,
      videos: Array.from({ length: 50 }, (_, n) => `${n}${'é'.repeat(120)}`),
    });
    const bytes = world.socket.sent.map(
      (frame) => new TextEncoder().encode(JSON.stringify(frame)).length,
    );
    assertEqual([Math.max(...bytes) <= 4096, bytes.length > 2], [true, true], bytes);
    assertEqual(
      world.socket.sent.flatMap((frame) => frame.channels ?? []),
      channels,
      'all channels',
    );
    /** @type {any} */
    const untyped = live;
    const thrown = (/** @type {() => void} */ call) => {
      try {
        call();
      } catch (error) {
        return error instanceof Error && error.name;
      }
      return null;
    };
    assertEqual(
      thrown(() => untyped.subscribe('one more')),
      'TypeError',
      'invalid name',
    );
    assertEqual(
      thrown(() => untyped.subscribe('more')),
      'RangeError',
      'too many names',
    );
    assertEqual(
      thrown(() => untyped.subscribe({ feeds: ['none'] })),
      'TypeError',
      'invalid feed',
    );
    assertEqual(
      thrown(() => untyped.on('nothing', () => {})),
      'TypeError',
      'invalid event',
    );
  },

  async 'requests a token for each attempt'(world) {
    let asked = 0;
    const { live } = await world.connect({
      token: async () => {
        asked += 1;
        if (asked === 2) throw new Error('unavailable');
        return `t${asked}`;
      },
    });
    assertEqual(world.socket.query('token'), ['t1'], 'first');
    world.socket.disconnect(4003, 'token_expired');
    await world.advance(1000);
    assertEqual(
      [world.sockets.length, live.state.state],
      [1, 'waiting'],
      'without a token, the attempt fails',
    );
    await world.advance(2000);
    assertEqual(world.socket.query('token'), ['t3'], 'again');
  },

  async 'continues after a listener throws'(world) {
    /** @type {string[]} */
    const reported = [];
    globalThis.reportError = (error) => reported.push(error.message);
    const { live, events } = await world.connect();
    live.on('message', () => {
      throw new Error('listener failed');
    });
    const off = live.on('plays', () => reported.push('plays'));
    world.socket.receiveHello();
    world.socket.receiveMessage('m1');
    off();
    world.socket.receive({ type: 'plays', counts: [] });
    world.socket.receive({ type: 'unknown' });
    world.socket.onmessage({ data: 'not JSON' });
    assertEqual(
      [events('message').length, events('plays').length, reported],
      [1, 1, ['listener failed']],
      'continues',
    );
  },

  async 'can be closed by a listener'(world) {
    const events = /** @type {const} */ (['state', 'resumed', 'message', 'gap']);
    for (const event of events) {
      const live = mayfly.connect({ url: 'http://live.example', WebSocket: world.Socket });
      live.on(event, () => live.close());
      await world.flush();
      if (event !== 'state')
        world.socket.receiveHello(event === 'resumed' ? { resumed: true } : {});
      if (event === 'message') world.socket.receiveMessage('m1');
      if (event === 'gap') world.socket.receive({ type: 'gap' });
      assertEqual([live.state.state, world.countTimers()], ['closed', 0], event);
    }
  },
};
