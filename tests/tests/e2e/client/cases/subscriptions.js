// Subscriptions: the frames that are delivered, and the settlement of calls.

addCases({
  async 'subscribes to no channels, all channels or those named'(world) {
    /** @type {[import('../../../../../web/client/mayfly.js').Options, unknown, string[]][]} */
    const rows = [
      [{}, undefined, ['a', 'b']],
      [{ channels: undefined }, undefined, ['a', 'b']],
      [{ channels: [] }, [], []],
      [{ channels: '*' }, ['*'], ['a', 'b']],
      [{ channels: ['*'] }, ['*'], ['a', 'b']],
      [{ channels: ['a', '*'] }, ['*'], ['a', 'b']],
      [{ channels: 'a' }, ['a'], ['a']],
    ];
    for (const [options, channels, received] of rows) {
      const { live, events } = await world.connect(options);
      for (const time of ['first', 'again']) {
        assertEqual(world.socket.connectFrame.channels, channels, JSON.stringify(options));
        world.socket.receiveHello();
        for (const channel of ['a', 'b']) {
          world.socket.receiveMessage(`${channel} ${time}`, { channel });
        }
        await world.reconnect();
      }
      const ids = events('message').map(({ id }) => id);
      const expected = ['first', 'again'].flatMap((time) =>
        received.map((one) => `${one} ${time}`),
      );
      assertEqual(ids, expected, JSON.stringify(options));
      live.close();
    }
  },

  async 'receives all channels until the first subscribe'(world) {
    const { live, events } = await world.connect();
    world.socket.receiveHello();
    live.subscribe([]);
    live.subscribe({ feeds: 'stats' });
    world.socket.receiveMessage('1', { channel: 'b' });
    live.subscribe('a');
    world.socket.receiveMessage('2', { channel: 'b' });
    world.socket.receiveMessage('3', { channel: 'a' });
    assertEqual(
      events('message').map(({ id }) => id),
      ['1', '3'],
      'messages',
    );
    await world.reconnect();
    assertEqual(world.socket.connectFrame.channels, ['a'], 'after a reconnect');
  },

  async 'counts the subscribers of a name'(world) {
    const { live, events } = await world.connect({ channels: ['a'] });
    world.socket.receiveHello();
    live.subscribe('b');
    live.subscribe(['b', 'b']);
    live.subscribe('a');
    assertEqual(world.socket.sent, [{ type: 'subscribe', channels: ['b'] }], 'subscribed once');
    live.unsubscribe('a');
    live.unsubscribe('b');
    live.unsubscribe('unknown');
    assertEqual(world.socket.sent.length, 1, 'both have another subscriber');
    for (const channel of ['a', 'b']) world.socket.receiveMessage(`1 ${channel}`, { channel });
    live.unsubscribe('b');
    live.unsubscribe('b');
    assertEqual(world.socket.sent[1], { type: 'unsubscribe', channels: ['b'] }, 'the last one');
    for (const channel of ['a', 'b']) world.socket.receiveMessage(`2 ${channel}`, { channel });
    assertEqual(
      events('message').map(({ id }) => id),
      ['1 a', '1 b', '2 a'],
      'messages',
    );
    live.subscribe('b');
    assertEqual(world.socket.sent.length, 3, 'the count does not become negative');
    await world.reconnect();
    assertEqual(world.socket.connectFrame.channels, ['a', 'b'], 'after a reconnect');
  },

  async 'subscribes to all channels only by name'(world) {
    const { live, events } = await world.connect({ channels: ['a'] });
    world.socket.receiveHello();
    live.subscribe('*');
    live.subscribe('b');
    live.unsubscribe('b');
    world.socket.receiveMessage('1', { channel: 'c' });
    live.unsubscribe('*');
    world.socket.receiveMessage('2', { channel: 'c' });
    world.socket.receiveMessage('3', { channel: 'a' });
    assertEqual(
      world.socket.sent,
      [
        { type: 'subscribe', channels: ['*'] },
        { type: 'unsubscribe', channels: ['*'] },
        { type: 'subscribe', channels: ['a'] },
      ],
      'frames',
    );
    assertEqual(
      events('message').map(({ id }) => id),
      ['1', '3'],
      'messages',
    );
  },

  async 'ends the default of all channels'(world) {
    const { live, events } = await world.connect();
    world.socket.receiveHello();
    const error = await findError(() => live.unsubscribe('a'));
    assertEqual(error?.code, 'invalid_field', 'a cannot be removed from all channels');
    live.unsubscribe('*');
    assertEqual(world.socket.sent, [{ type: 'unsubscribe', channels: ['*'] }], 'frame');
    world.socket.receiveMessage('1');
    await world.reconnect();
    assertEqual([world.socket.connectFrame.channels, events('message')], [[], []], 'none');
  },

  async 'does not remove single videos from all videos'(world) {
    const { live, events } = await world.connect({ feeds: 'plays' });
    world.socket.receiveHello();
    const error = await findError(() => live.unsubscribe({ videos: 'v', feeds: 'plays' }));
    assertEqual(error?.code, 'invalid_field', 'v cannot be removed from all videos');
    world.socket.receive({ type: 'plays', counts: [{ video_id: 'v', count: 1 }] });
    assertEqual([world.socket.sent, events('plays').length], [[], 1], 'it changes nothing');
    live.subscribe({ videos: 'v' });
    world.socket.confirm();
    assertEqual(await live.unsubscribe({ videos: 'w' }), true, 'an unknown video is ignored');
    live.unsubscribe({ videos: 'v', feeds: 'plays' });
    assertEqual(
      world.socket.sent,
      [
        { type: 'subscribe', videos: ['v'] },
        { type: 'unsubscribe', videos: ['v'] },
        { type: 'unsubscribe', feeds: ['plays'] },
      ],
      'frames',
    );
  },

  async 'keeps an emptied set empty'(world) {
    const { live, events } = await world.connect({ channels: ['a'] });
    world.socket.receiveHello();
    live.unsubscribe({ channels: ['a'] });
    world.socket.confirm();
    await world.reconnect();
    assertEqual(world.socket.connectFrame.channels, [], 'no channels, which is not all');
    world.socket.receiveHello({ resumed: true });
    world.socket.receiveMessage('stray', { channel: 'a' });
    assertEqual([events('message'), world.socket.sent], [[], []], 'empty');
    const b = live.subscribe('b');
    world.socket.confirm();
    world.socket.receiveMessage('from b', { channel: 'b' });
    assertEqual([await b, events('message').length], [true, 1], 'until a channel is added');
  },

  async 'reports only the videos, hosts and feeds that are subscribed'(world) {
    const feeds = /** @type {const} */ (['plays', 'rising', 'messages']);
    const { live, events } = await world.connect({ feeds, videos: ['v'], hosts: ['h'] });
    const receive = () => {
      const counts = ['v', 'w'].map((video_id) => ({ video_id, count: 1 }));
      world.socket.receive({ type: 'plays', counts });
      for (const host of ['h', 'i']) world.socket.receive({ type: 'rising', host, pages: [] });
      world.socket.receiveMessage(String(world.socket.sent.length));
    };
    const received = () => [
      events('plays').flatMap(({ counts }) => counts.map((/** @type {any} */ one) => one.video_id)),
      events('rising').map(({ host }) => host),
      events('message').length,
    ];
    world.socket.receiveHello();
    receive();
    assertEqual(received(), [['v'], ['h'], 1], 'subscribed');
    live.unsubscribe({ videos: 'v', hosts: 'H', feeds: 'messages' });
    const [plays, rising] = world.socket.sent;
    assertEqual(plays, { type: 'unsubscribe', videos: ['v'] }, 'videos');
    assertEqual(
      rising,
      { type: 'unsubscribe', feeds: ['plays', 'rising', 'messages'], hosts: ['h'] },
      'no videos and no hosts: not all plays, and no rising feed without a host',
    );
    receive();
    assertEqual(received(), [['v'], ['h'], 1], 'unsubscribed');
    await world.reconnect();
    assertEqual(world.socket.connectFrame.feeds, [], 'after a reconnect');
    world.socket.receiveHello();
    live.subscribe({ videos: 'w', hosts: 'i' });
    assertEqual(
      world.socket.sent,
      [{ type: 'subscribe', videos: ['w'], hosts: ['i'], feeds: ['plays', 'rising'] }],
      'the feeds are still subscribed',
    );
    receive();
    assertEqual(received(), [['v', 'w'], ['h', 'i'], 1], 'subscribed again');
  },

  async 'switches between hosts'(world) {
    const { live, events } = await world.connect({ feeds: 'rising', hosts: 'One.example' });
    assertEqual(world.socket.connectFrame.hosts, ['one.example'], 'in lower case');
    world.socket.receiveHello();
    live.unsubscribe({ hosts: 'ONE.example' });
    live.subscribe({ hosts: ['Two.example'] });
    assertEqual(
      world.socket.sent,
      [
        { type: 'unsubscribe', feeds: ['rising'], hosts: ['one.example'] },
        { type: 'subscribe', hosts: ['two.example'], feeds: ['rising'] },
      ],
      'frames',
    );
    world.socket.receive({ type: 'rising', host: 'two.example', pages: [] });
    assertEqual(
      events('rising').map(({ host }) => host),
      ['two.example'],
      'in received frames',
    );
  },

  async 'settles a call when the server has confirmed it'(world) {
    const { live } = await world.connect({ channels: ['a'] });
    /** @type {string[]} */
    const settled = [];
    /** @type {(name: string, promise: Promise<unknown>) => void} */
    const record = (name, promise) => void promise.then(() => settled.push(name));
    record('early', live.subscribe('early'));
    world.socket.receiveHello();
    assertEqual(world.socket.sent, [{ type: 'subscribe', channels: ['early'] }], 'after hello');
    record('b', live.subscribe('b'));
    record('b again', live.subscribe('b'));
    record('c', live.subscribe('c'));
    record('a', live.subscribe('a'));
    await world.flush();
    assertEqual(settled, [], 'nothing is confirmed');
    world.socket.confirm();
    await world.flush();
    assertEqual(settled, ['early'], 'the first frame');
    world.socket.confirm();
    await world.flush();
    assertEqual(settled, ['early', 'b', 'b again'], 'the second frame');
    world.socket.confirm();
    await world.flush();
    assertEqual(settled.slice(3), ['c', 'a'], 'the third frame');
    assertEqual([await live.subscribe('a'), await live.unsubscribe('x')], [true, true], 'no frame');
  },

  async 'settles a call after a reconnect'(world) {
    const { live } = await world.connect({ channels: [] });
    world.socket.receiveHello();
    const lost = live.subscribe('lost');
    world.socket.disconnect(1006);
    const offline = live.subscribe('offline');
    let isSettled = false;
    Promise.race([lost, offline]).finally(() => (isSettled = true));
    await world.advance(1000);
    assertEqual([isSettled, world.sockets.length], [false, 2], 'not yet');
    assertEqual(world.socket.connectFrame.channels, ['lost', 'offline'], 'in the first frame');
    world.socket.receiveHello();
    assertEqual(await Promise.all([lost, offline]), [true, true], 'confirmed by hello');
    assertEqual(world.socket.sent, [], 'no other frame is necessary');
  },

  async 'rejects a call that the server refuses'(world) {
    const { live, events } = await world.connect({ channels: ['a'] });
    world.socket.receiveHello();
    const good = live.subscribe('good');
    const bad = live.subscribe(['bad', 'b']);
    const alsoBad = live.subscribe('bad');
    const b = live.subscribe('b');
    world.socket.confirm();
    world.socket.refuse('forbidden');
    const error = await findError(() => bad);
    assertEqual(
      [error?.name, error?.code, error?.message],
      ['Error', 'forbidden', 'mayfly: no'],
      'refused',
    );
    assertEqual([await good, events('error')[0].code], [true, 'forbidden'], 'others');
    assertEqual(
      world.socket.sent.slice(2),
      [
        { type: 'subscribe', channels: ['bad'] },
        { type: 'subscribe', channels: ['b'] },
      ],
      'calls that waited for the refused frame get their own',
    );
    world.socket.refuse('forbidden');
    world.socket.confirm();
    assertEqual([(await findError(() => alsoBad))?.code, await b], ['forbidden', true], 'settled');
    await world.reconnect();
    assertEqual(world.socket.connectFrame.channels, ['a', 'good', 'b'], 'not requested again');
  },

  async 'undoes the rest of a refused call'(world) {
    const { live, events } = await world.connect();
    world.socket.receiveHello();
    const videos = Array.from({ length: 50 }, (_, n) => `${n}${'v'.repeat(120)}`);
    const refused = live.subscribe({ channels: ['bad'], videos, feeds: 'plays' });
    assertEqual(world.socket.sent.length, 2, 'two frames');
    world.socket.refuse('forbidden');
    world.socket.confirm();
    assertEqual((await findError(() => refused))?.code, 'forbidden', 'refused');
    const undone = world.socket.sent.slice(2);
    assertEqual(
      undone.map(({ type }) => type),
      ['unsubscribe', 'unsubscribe'],
      'removes what the server accepted',
    );
    world.socket.receiveMessage('1', { channel: 'any' });
    assertEqual(events('message').length, 1, 'all channels are still subscribed');
    await world.reconnect();
    const { channels, feeds } = world.socket.connectFrame;
    assertEqual([channels, feeds], [undefined, ['messages']], 'after a reconnect');
  },

  async 'reconnects if the server accepts only some of the first videos'(world) {
    const { live, events } = await world.connect({ feeds: 'plays' });
    world.socket.receiveHello();
    const videos = Array.from({ length: 50 }, (_, n) => `${n}${'v'.repeat(120)}`);
    const refused = live.subscribe({ videos });
    assertEqual(world.socket.sent.length, 2, 'two frames');
    world.socket.confirm();
    world.socket.refuse('forbidden');
    assertEqual((await findError(() => refused))?.code, 'forbidden', 'refused');
    world.socket.confirm();
    assertEqual(events('state').at(-1).state, 'waiting', 'the frames are settled');
    await world.advance(1000);
    const { feeds, videos: none } = world.socket.connectFrame;
    assertEqual([world.sockets.length, feeds, none], [2, ['plays'], []], 'all videos');
    world.socket.receiveHello();
    const wanted = live.subscribe({ videos: 'v' });
    world.socket.confirm();
    assertEqual([await wanted, world.socket.isOpen], [true, true], 'connected');
  },

  async 'rejects calls when the connection is closed permanently'(world) {
    for (const close of [
      (/** @type {import('../../../../../web/client/mayfly.js').Live} */ live) => live.close(),
      () => world.socket.disconnect(4501, 'too many'),
    ]) {
      const { live } = await world.connect({ channels: ['a'] });
      world.socket.receiveHello();
      const calls = [live.subscribe('b'), live.unsubscribe('a')];
      close(live);
      assertEqual((await findError(() => calls[0]))?.code, 'closed', 'subscribe');
      assertEqual(await calls[1], true, 'nothing is received any more');
      assertEqual((await findError(() => live.subscribe('c')))?.code, 'closed', 'later');
      assertEqual(await live.unsubscribe('c'), true, 'later');
    }
  },

  async 'does not report an unhandled rejection'(world) {
    /** @type {unknown[]} */
    const unhandled = [];
    window.onunhandledrejection = (event) => unhandled.push(event.reason);
    const { live } = await world.connect();
    live.subscribe('b');
    live.close();
    // The browser reports rejections after a task.
    const { port1, port2 } = new MessageChannel();
    await new Promise((resolve) => {
      port1.onmessage = resolve;
      port2.postMessage(null);
    });
    port1.close();
    assertEqual(unhandled, [], 'unhandled');
  },

  async 'reconnects with many long names'(world) {
    /** @type {(length: number, prefix: string) => string[]} */
    const names = (length, prefix) =>
      Array.from({ length: 128 }, (_, n) => String(n).padStart(length, prefix));
    const channels = names(64, 'c');
    const hosts = names(253, 'h');
    const videos = names(128, 'v').map((name) => name.replace(/^v+/, (v) => 'é'.repeat(v.length)));
    const { live } = await world.connect({ channels: [], feeds: 'plays' });
    world.socket.receiveHello();
    const all = [live.subscribe(channels), live.subscribe({ hosts }), live.subscribe({ videos })];
    const { sent } = world.socket;
    assertEqual(sent.length > 3, true, 'each frame fits into 4 KiB');
    assertEqual(
      [sent.flatMap((one) => one.channels ?? []), sent.flatMap((one) => one.hosts ?? [])],
      [channels, hosts],
      'all names',
    );
    for (const _ of sent) world.socket.confirm();
    await Promise.all(all);
    await world.reconnect();
    const { connectFrame, url } = world.socket;
    assertEqual(url, 'ws://live.example/v1/live?connect=frame', 'URL');
    assertEqual([connectFrame.channels, connectFrame.hosts], [channels, hosts], 'first frame');
    world.socket.receiveHello();
    const later = world.socket.sent.flatMap((frame) => frame.videos ?? []);
    assertEqual([...connectFrame.videos, ...later], videos, 'the videos follow');
    assertEqual(later.length > 0, true, 'not all fit into the first frame');
  },
});
