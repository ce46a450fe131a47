// Tokens: requests, renewal and rejection.

addCases({
  async 'requests a token for each attempt'(world) {
    let asked = 0;
    const { live } = await world.connect({
      token: async () => {
        asked += 1;
        if (asked === 2) throw new Error('unavailable');
        return `t${asked}`;
      },
    });
    assertEqual(world.socket.connectFrame.token, 't1', 'first');
    world.socket.disconnect(4003, 'token_expired');
    await world.advance(1000);
    assertEqual(
      [world.sockets.length, live.state.state],
      [1, 'waiting'],
      'without a token, the attempt fails',
    );
    await world.advance(2000);
    assertEqual(world.socket.connectFrame.token, 't3', 'again');
  },

  async 'reconnects if there is no token in time'(world) {
    let asked = 0;
    const token = () => (++asked > 1 ? 't2' : new Promise(() => {}));
    const { states } = await world.connect({ token });
    await world.advance(11_000);
    assertEqual(states(), ['connecting', 'waiting', 'connecting'], 'states');
    assertEqual(world.socket.connectFrame.token, 't2', 'with the second token');
  },

  async 'renews its token before it expires'(world) {
    Math.random = () => 1;
    let asked = 0;
    const { live, states } = await world.connect({ token: async () => `t${++asked}` });
    const { socket } = world;
    socket.receiveHello({ expires_at: world.findTime(600_000), ping_interval_ms: 86_400_000 });
    await world.advance(569_999);
    assertEqual([asked, socket.sent], [1, []], 'not earlier than 30 seconds before');
    await world.advance(1);
    assertEqual([asked, socket.sent], [2, [{ type: 'auth', token: 't2' }]], 'in time');
    socket.authenticate(600_000);
    await world.advance(569_999);
    assertEqual(asked, 2, 'accepted');
    await world.advance(1);
    assertEqual(socket.sent[1], { type: 'auth', token: 't3' }, 'the next token');
    socket.receive({ type: 'authenticated', expires_at: null });
    await world.advance(7_200_000);
    assertEqual([asked, states()], [3, ['connecting', 'open']], 'without an expiry');
    live.close();
    assertEqual(world.countTimers(), 0, 'everything is released');
  },

  async 'spreads the renewals of many clients'(world) {
    let asked = 0;
    for (let client = 0; client < 50; client++) {
      await world.connect({ token: () => `t${++asked}` });
      const expires_at = world.findTime(60_000);
      world.socket.receiveHello({ expires_at, ping_interval_ms: 86_400_000 });
    }
    await world.advance(29_000);
    assertEqual(asked, 50, 'in the last half of the lifetime');
    await world.advance(8_500);
    assertEqual(asked > 50 && asked < 100, true, `at different times: ${asked}`);
  },

  async 'repeats a renewal until a token is accepted'(world) {
    Math.random = () => 1;
    let asked = 0;
    /** @type {(() => any)[]} */
    const tokens = [
      () => 't1',
      () => Promise.reject(new Error('unavailable')),
      () => new Promise(() => {}),
      () => null,
      () => 't5',
      () => 't6',
    ];
    const { live, events } = await world.connect({ token: () => tokens[asked++]() });
    const { socket } = world;
    socket.receiveHello({ expires_at: world.findTime(600_000), ping_interval_ms: 86_400_000 });
    await world.advance(570_000);
    assertEqual([asked, socket.sent], [2, []], 'the function fails');
    await world.advance(10_000);
    assertEqual([asked, socket.sent], [3, []], 'it does not respond');
    await world.advance(10_000);
    assertEqual([asked, socket.sent], [4, []], 'it returns no token');
    const subscribed = live.subscribe('a');
    await world.advance(10_000);
    assertEqual(socket.sent[1], { type: 'auth', token: 't5' }, 'it returns a token');
    socket.confirm();
    socket.refuse('unauthorized', { reply_to: 'auth' });
    assertEqual([await subscribed, events('error')[0].code], [true, 'unauthorized'], 'rejected');
    await world.advance(10_000);
    assertEqual(socket.sent[2], { type: 'auth', token: 't6' }, 'another token');
    socket.authenticate(600_000);
    await world.advance(500_000);
    assertEqual([asked, live.state.state], [6, 'open'], 'accepted');
  },

  async 'does not renew a token too often'(world) {
    let asked = 0;
    await world.connect({ token: () => `t${++asked}` });
    const { socket } = world;
    socket.receiveHello({ expires_at: world.findTime(-5000) });
    for (let second = 0; second < 10; second++) {
      await world.advance(1000);
      socket.authenticate(-5000);
    }
    assertEqual(asked, 11, 'once per second');
  },

  async 'sends a late token only on the connection that needs it'(world) {
    Math.random = () => 1;
    /** @type {((token: string) => void)[]} */
    const resolve = [];
    await world.connect({ token: () => new Promise((done) => resolve.push(done)) });
    resolve[0]('t1');
    await world.flush();
    const { socket } = world;
    socket.receiveHello({ expires_at: world.findTime(60_000), ping_interval_ms: 86_400_000 });
    await world.advance(45_000);
    assertEqual(resolve.length, 2, 'requested');
    socket.disconnect(1006);
    await world.advance(1000);
    resolve[1]('t2');
    resolve[2]('t3');
    await world.flush();
    assertEqual(
      [socket.sent, world.socket.connectFrame.token, world.socket.sent],
      [[], 't3', []],
      'the new connection has its own token',
    );
  },

  async 'renews its token immediately after sleep'(world) {
    let asked = 0;
    const { live } = await world.connect({ token: async () => `t${++asked}` });
    const { socket } = world;
    socket.receiveHello({ position: 'p1', expires_at: world.findTime(600_000) });
    await world.advance(10_000);
    world.dispatch('resume');
    await world.flush();
    assertEqual([asked, socket.sent], [1, [{ type: 'ping' }]], 'not due');
    socket.receive({ type: 'pong' });
    await world.advance(10_000);
    world.sleep(3_600_000);
    world.dispatch('resume');
    await world.flush();
    assertEqual([asked, socket.sent.at(-1)], [2, { type: 'auth', token: 't2' }], 'due');
    socket.receive({ type: 'error', code: 'token_expired', message: 'late', reply_to: 'auth' });
    socket.disconnect(4003, 'token_expired');
    assertEqual(live.state.state, 'waiting', 'the connection was closed during the sleep');
    await world.advance(1000);
    const { token, since } = world.socket.connectFrame;
    assertEqual([token, since, world.sockets.length], ['t3', 'p1', 2], 'resumes with a new token');
  },

  async 'does not send a token that it requested before sleep'(world) {
    /** @type {((token: string) => void)[]} */
    const resolve = [];
    /** @type {any} */
    const WebSocket = class extends world.Socket {
      /** @param {string} url */
      constructor(url) {
        super(url);
        if (world.sockets.length === 1) world.sleep(3_600_000);
      }
    };
    const token = () => new Promise((done) => resolve.push(done));
    const { states } = await world.connect({ token, WebSocket });
    world.sleep(3_600_000);
    resolve[0]('t1');
    await world.flush();
    assertEqual([world.sockets.length, states().at(-1)], [0, 'waiting'], 'before the handshake');
    await world.advance(1000);
    resolve[1]('t2');
    await world.flush();
    const [first] = world.sockets;
    assertEqual(
      [first.connectFrame, first.isOpen, states().at(-1)],
      [undefined, false, 'waiting'],
      'during the handshake',
    );
    await world.advance(2000);
    resolve[2]('t3');
    await world.flush();
    assertEqual([world.sockets.length, world.socket.connectFrame.token], [2, 't3'], 'sent');
  },

  async 'cannot renew a string'(world) {
    const { live, events } = await world.connect({ token: 't' });
    const { socket } = world;
    assertEqual(socket.connectFrame.token, 't', 'sent');
    socket.receiveHello({ expires_at: world.findTime(60_000) });
    socket.disconnect(1006);
    await world.advance(1000);
    assertEqual(world.socket.connectFrame.token, 't', 'sent again');
    world.socket.receiveHello({ expires_at: world.findTime(1000) });
    await world.advance(2000);
    assertEqual(world.socket.sent, [], 'not renewed');
    world.socket.disconnect(4003, 'token_expired');
    const closed = { state: 'closed', code: 4003, reason: 'token_expired' };
    assertEqual([live.state, events('state').at(-1)], [closed, closed], 'final');
    assertEqual(world.countTimers(), 0, 'everything is released');
  },

  async 'does not reconnect with a rejected token'(world) {
    for (const [code, reason] of /** @type {const} */ ([
      [4502, 'unauthorized'],
      [4503, 'revoked'],
    ])) {
      let asked = 0;
      const { live, events } = await world.connect({ token: () => `t${++asked}` });
      const { socket } = world;
      socket.receive({ type: 'error', code: reason, message: 'no', reply_to: 'connect' });
      socket.disconnect(code, reason);
      const sockets = world.sockets.length;
      await world.advance(120_000);
      assertEqual([asked, world.sockets.length], [1, sockets], reason);
      assertEqual(live.state, { state: 'closed', code, reason }, 'final');
      assertEqual(events('error')[0].code, reason, 'reported');
    }
  },

  async 'reconnects with a new token if its first frame was late'(world) {
    let asked = 0;
    const { live } = await world.connect({ token: () => `t${++asked}` });
    const { socket } = world;
    socket.receive({ type: 'error', code: 'request_timeout', message: 'late' });
    socket.disconnect(4502, 'late');
    assertEqual([live.state.state, socket.isOpen], ['waiting', false], 'not final');
    await world.advance(1000);
    assertEqual(world.socket.connectFrame.token, 't2', 'with a new token');
  },

  async 'reports names that the token does not allow'(world) {
    const { live, events } = await world.connect({
      token: 't',
      channels: ['a', 'b'],
      feeds: ['messages', 'rising'],
      hosts: 'h',
    });
    world.socket.receiveHello();
    const refused = { channels: ['b'], feeds: [], hosts: ['h'] };
    const pending = live.subscribe('c');
    const error = { type: 'error', code: 'forbidden', message: 'no', reply_to: 'connect' };
    world.socket.receive({ ...error, ...refused });
    assertEqual(events('error'), [{ ...error, ...refused }], 'event');
    world.socket.confirm();
    assertEqual(await pending, true, 'the error does not belong to another call');
    for (const channel of ['a', 'b', 'c']) world.socket.receiveMessage(channel, { channel });
    assertEqual(
      events('message').map(({ id }) => id),
      ['a', 'c'],
      'messages',
    );
    await world.reconnect();
    const { channels, feeds, hosts } = world.socket.connectFrame;
    assertEqual([channels, feeds, hosts], [['a', 'c'], ['messages'], []], 'not requested again');
    world.socket.receiveHello();
    const again = live.subscribe('b');
    assertEqual(world.socket.sent, [{ type: 'subscribe', channels: ['b'] }], 'unless named again');
    world.socket.refuse('forbidden', { reply_to: 'subscribe', channels: ['b'] });
    assertEqual((await findError(() => again))?.code, 'forbidden', 'rejected');
  },

  async 'rejects a call whose names were forbidden in the first frame'(world) {
    const { live, events } = await world.connect({ token: 't', channels: ['a'] });
    world.socket.receiveHello();
    world.socket.disconnect(1006);
    const [mixed, good] = [live.subscribe(['b', 'c']), live.subscribe('d')];
    await world.advance(1000);
    assertEqual(world.socket.connectFrame.channels, ['a', 'b', 'c', 'd'], 'first frame');
    world.socket.receiveHello({ resumed: true });
    assertEqual(world.socket.sent, [{ type: 'subscribe' }], 'a frame that the server confirms');
    const error = { type: 'error', code: 'forbidden', message: 'no', reply_to: 'connect' };
    world.socket.receive({ ...error, channels: ['c'], feeds: [], hosts: [] });
    assertEqual(
      world.socket.sent[1],
      { type: 'unsubscribe', channels: ['b'] },
      'the rest of the call is undone',
    );
    world.socket.confirm();
    world.socket.confirm();
    assertEqual([(await findError(() => mixed))?.code, await good], ['forbidden', true], 'settled');
    assertEqual(events('error').length, 1, 'reported once');
    await world.reconnect();
    assertEqual(world.socket.connectFrame.channels, ['a', 'd'], 'after a reconnect');
  },

  async 'restores all channels if the first named ones were forbidden'(world) {
    const { live, events } = await world.connect({ token: 't' });
    world.socket.receiveHello();
    world.socket.disconnect(1006);
    const refused = live.subscribe('b');
    await world.advance(1000);
    world.socket.receiveHello({ resumed: true });
    const error = { type: 'error', code: 'forbidden', message: 'no', reply_to: 'connect' };
    world.socket.receive({ ...error, channels: ['b'], feeds: [], hosts: [] });
    world.socket.confirm();
    assertEqual((await findError(() => refused))?.code, 'forbidden', 'rejected');
    assertEqual(world.socket.sent[1], { type: 'subscribe', channels: ['*'] }, 'all channels');
    world.socket.receiveMessage('1', { channel: 'any' });
    live.subscribe('c');
    assertEqual(
      world.socket.sent.slice(2),
      [
        { type: 'unsubscribe', channels: ['*'] },
        { type: 'subscribe', channels: ['c'] },
      ],
      'until a channel is named',
    );
    assertEqual(events('message').length, 1, 'received');
  },

  async 'drops names that a new token does not allow'(world) {
    Math.random = () => 1;
    let asked = 0;
    const token = () => `t${++asked}`;
    const { events } = await world.connect({ token, channels: ['a', 'b'] });
    const { socket } = world;
    socket.receiveHello({ expires_at: world.findTime(60_000), ping_interval_ms: 86_400_000 });
    await world.advance(45_000);
    assertEqual(socket.sent.at(-1).type, 'auth', 'renewed');
    socket.authenticate(600_000);
    const error = { type: 'error', code: 'forbidden', message: 'no', reply_to: 'auth' };
    socket.receive({ ...error, channels: ['b'], feeds: [], hosts: [] });
    for (const channel of ['a', 'b']) socket.receiveMessage(channel, { channel });
    assertEqual(
      [events('message').map(({ id }) => id), events('error').length],
      [['a'], 1],
      'dropped',
    );
    await world.reconnect();
    assertEqual(world.socket.connectFrame.channels, ['a'], 'after a reconnect');
  },
});
