// Options, URLs and names: mistakes are reported where they are made.

addCases({
  async 'sends everything in the first frame'(world) {
    await world.connect({
      channels: ['a', 'b'],
      feeds: ['plays', 'rising'],
      videos: ['v&1'],
      hosts: 'One.example',
      since: 'p7',
      token: async () => 't',
    });
    assertEqual(world.socket.url, 'ws://live.example/v1/live?connect=frame', 'URL');
    assertEqual(
      world.socket.connectFrame,
      {
        ...{ type: 'connect', token: 't', since: 'p7', channels: ['a', 'b'] },
        ...{ hosts: ['one.example'], feeds: ['plays', 'rising'], videos: ['v&1'] },
      },
      'frame',
    );
  },

  async 'accepts URLs of a server'(world) {
    const urls = {
      'http://live.example': 'ws://live.example/v1/live',
      'https://live.example:8443/': 'wss://live.example:8443/v1/live',
      'ws://live.example/v1/live#x': 'ws://live.example/v1/live',
      'WSS://Live.example/prefix': 'wss://live.example/prefix',
      'http://[::1]:8080': 'ws://[::1]:8080/v1/live',
    };
    for (const [url, expected] of Object.entries(urls)) {
      for (const given of [url, new URL(url)]) {
        const { live } = await world.connect({ url: given });
        assertEqual(world.socket.url, `${expected}?connect=frame`, url);
        live.close();
      }
    }
  },

  async 'throws on an invalid URL'(world) {
    const urls = [
      ...['localhost:8080', 'localhost', 'live.example', '127.0.0.1:8080', '[::1]:8080'],
      ...['ftp://live.example', 'http://', 'http://live.example:99999', 'v1/live'],
      ...['http://live.example/v1/live?channel=a', 'javascript:0', 'file:///v1/live', ' '],
      // A relative URL requires a page with an origin. This page has none.
      ...['/v1/live', '', null, undefined],
    ];
    for (const url of urls) {
      const error = await findError(() => world.connect({ url }));
      assertEqual(error?.name, 'TypeError', url);
      assertEqual(error?.message.includes(url || 'none'), true, `${url}: ${error?.message}`);
      assertEqual(error?.message.includes('url'), true, `${url}: ${error?.message}`);
    }
    assertEqual([world.sockets.length, world.countListeners()], [0, 0], 'nothing was started');
  },

  async 'throws on an unknown or invalid option'(world) {
    /** @type {Record<string, unknown>[]} */
    const invalid = [
      ...[{ channel: 'a' }, { Channels: ['a'] }, { feed: 'plays' }, { host: 'h' }],
      ...[{ URL: 'x' }, { position: 'p' }, { channel: undefined }],
      ...[{ channels: null }, { channels: 5 }, { channels: { a: 1 } }, { channels: [['a']] }],
      ...[{ channels: ['a b'] }, { channels: [''] }, { channels: '' }, { channels: ['a', 1] }],
      ...[{ channels: ['x'.repeat(65)] }, { channels: 'a,b' }, { channels: 'ä' }],
      ...[{ feeds: ['none'] }, { feeds: '*' }, { feeds: 'rising' }, { videos: [''] }],
      ...[{ videos: ['x'.repeat(129)] }, { videos: ['\ud800'] }, { videos: [1] }],
      ...[{ hosts: ['a/b'] }, { hosts: '*' }, { hosts: ['x'.repeat(254)] }],
      ...[{ since: 5 }, { token: 5 }, { token: {} }, { WebSocket: {} }, { WebSocket: null }],
    ];
    for (const options of invalid) {
      const [name] = Object.keys(options);
      const error = await findError(() => world.connect(options));
      assertEqual(error?.name, 'TypeError', JSON.stringify(options));
      const names = name === 'feeds' ? /feeds?/ : new RegExp(name);
      assertEqual(names.test(error?.message ?? ''), true, `${name}: ${error?.message}`);
    }
    for (const options of [null, 'http://live.example', 5]) {
      const error = await findError(() => mayfly.connect(/** @type {any} */ (options)));
      assertEqual(error?.name, 'TypeError', options);
    }
    assertEqual([world.sockets.length, world.countListeners()], [0, 0], 'nothing was started');
    // Long IDs of any script are valid, and counted in characters.
    await world.connect({ videos: ['😀'.repeat(128)], feeds: 'plays' });
    assertEqual(world.sockets.length, 1, 'valid');
  },

  async 'throws on an unknown or invalid name'(world) {
    const { live } = await world.connect();
    world.socket.receiveHello();
    for (const method of /** @type {const} */ (['subscribe', 'unsubscribe'])) {
      for (const names of [
        'a b',
        ['a b'],
        { channel: 'a' },
        { feeds: ['none'] },
        null,
        undefined,
      ]) {
        const error = await findError(() => live[method](/** @type {any} */ (names)));
        assertEqual(
          [error?.name, error?.code],
          ['TypeError', 'invalid_field'],
          `${method} ${names}`,
        );
      }
    }
    const many = Array.from({ length: 129 }, (_, n) => `c${n}`);
    const error = await findError(() => live.subscribe(many));
    assertEqual([error?.name, error?.code], ['RangeError', 'too_many_channels'], 'too many');
    assertEqual(world.socket.sent, [], 'nothing was sent');
    const unknown = await findError(() => live.on(/** @type {any} */ ('nothing'), () => {}));
    assertEqual(unknown?.name, 'TypeError', 'unknown event');
    const missing = await findError(() => live.on('message', /** @type {any} */ (undefined)));
    assertEqual(missing?.name, 'TypeError', 'no listener');
  },

  async 'does not send a position that is too long'(world) {
    await world.connect({ since: 'p'.repeat(100_000) });
    assertEqual(world.socket.connectFrame.since.length, 257, 'still invalid');
  },
});
