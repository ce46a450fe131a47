// Listeners.

addCases({
  async 'continues after a listener throws'(world) {
    /** @type {string[]} */
    const reported = [];
    globalThis.reportError = (error) => reported.push(error.message);
    const { live, events } = await world.connect({ feeds: ['messages', 'plays'] });
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
    world.socket.onmessage({ data: 'null' });
    live.on('expired', async () => {
      throw new Error('promise failed');
    });
    world.socket.receive({ type: 'expired', position: 'p', ids: [] });
    await world.flush();
    assertEqual(
      [events('message').length, events('plays').length, reported],
      [1, 1, ['listener failed', 'promise failed']],
      'continues',
    );
  },

  async 'continues after a frame that lacks a field'(world) {
    /** @type {string[]} */
    const reported = [];
    globalThis.reportError = (error) => reported.push(error.name);
    const { events } = await world.connect({ feeds: ['messages', 'plays'], videos: 'v' });
    world.socket.receiveHello();
    const frames = [{ type: 'message' }, { type: 'expired' }, { type: 'plays' }];
    for (const frame of frames) world.socket.receive(frame);
    world.socket.receiveMessage('m1');
    assertEqual(
      [events('message').length, reported],
      [1, frames.map(() => 'TypeError')],
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

  async 'adds and removes each listener independently'(world) {
    const { live } = await world.connect();
    world.socket.receiveHello();
    let calls = 0;
    const listener = () => calls++;
    const [first, second] = [live.on('message', listener), live.on('message', listener)];
    first();
    first();
    world.socket.receiveMessage('m1');
    assertEqual(calls, 1, 'the other one remains');
    second();
    const off = live.on('message', listener);
    live.on('expired', () => off());
    live.on('expired', listener);
    world.socket.receive({ type: 'expired', position: 'p', ids: [] });
    world.socket.receiveMessage('m2');
    assertEqual(calls, 2, 'removed by another listener');
  },
});
