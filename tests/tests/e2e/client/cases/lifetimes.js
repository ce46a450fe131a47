// Lifetimes: a message lives as long as its time to live, regardless of the clocks.

addCases({
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
    world.socket.receiveMessage('m1', { ttl: 26 * 86_400 });
    await world.advance(25 * 86_400_000);
    assertEqual(events('expired'), [], 'live');
    await world.advance(86_400_100);
    assertEqual(events('expired').length, 1, 'expired');
  },

  async 'limits the messages it remembers'(world) {
    const { events } = await world.connect();
    world.socket.receiveHello();
    for (let n = 0; n < 20_005; n++) world.socket.receiveMessage(`m${n}`);
    await world.advance(61_000);
    assertEqual(events('expired').flatMap(({ ids }) => ids).length, 20_000, 'the newest expire');
  },

  async 'measures lifetimes from the arrival of a message'(world) {
    const errors = [-300_000, 0, 300_000];
    for (const [skewMs, helloMs, clockMs] of errors.flatMap((a) =>
      errors.flatMap((b) => errors.map((c) => [a, b, c])),
    )) {
      const label = `browser ${skewMs}, ws-fanout ${helloMs}, ingest-api ${clockMs}`;
      world.clockSkewMs = skewMs;
      const { live, events } = await world.connect();
      const time = new Date(Date.parse(world.serverTime) + helloMs).toISOString();
      // An older server does not send its time.
      world.socket.receiveHello({ time: helloMs || skewMs ? time : undefined });
      world.socket.receiveMessage(`a ${label}`, { ttl: 10 });
      world.socket.receiveMessage(`b ${label}`, { ttl: 10, clockMs });
      world.socket.receiveMessage(`c ${label}`, { ttl: 20 });
      // Clocks may be adjusted at any time, independently of each other.
      if (skewMs) world.clockSkewMs += 3_600_000;
      const later = new Date(Date.parse(world.serverTime) + 3_600_000).toISOString();
      if (!skewMs) world.socket.receiveHello({ time: later, resumed: false, reason: 'data_lost' });
      await world.advance(9900);
      assertEqual(events('expired'), [], `${label}: live`);
      await world.advance(200);
      assertEqual(
        events('expired').flatMap(({ ids }) => ids),
        [`a ${label}`, `b ${label}`],
        `${label}: expired`,
      );
      live.close();
    }
  },

  async 'reports the remaining life of a message'(world) {
    const { live } = await world.connect();
    /** @type {number[]} */
    const remaining = [];
    live.on('message', (_, { expires_in_ms }) => remaining.push(expires_in_ms));
    world.socket.receiveHello();
    world.socket.receiveMessage('a', { ttl: 10, clockMs: -300_000 });
    world.socket.receiveMessage('b', { ttl: 0 });
    await world.reconnect(20_000);
    world.socket.receiveHello({ resumed: true });
    world.socket.receiveMessage('c', { ttl: 60, ageMs: 15_000 });
    world.socket.receiveMessage('d', { ttl: 10, ageMs: 11_000 });
    assertEqual(remaining, [10_000, 0, 45_000, 0], 'milliseconds');
  },

  async 'subtracts the age of a replayed message'(world) {
    const { events } = await world.connect();
    const expired = () => events('expired').flatMap(({ ids }) => ids);
    world.socket.receiveHello();
    await world.reconnect(20_000);
    world.socket.receiveHello({ resumed: true });
    world.socket.receiveMessage('old', { ttl: 10, ageMs: 15_000 });
    world.socket.receiveMessage('young', { ttl: 30, ageMs: 5000 });
    world.socket.receiveMessage('live', { ttl: 30 });
    assertEqual(events('message').length, 3, 'all are reported');
    await world.advance(100);
    assertEqual(expired(), ['old'], 'expired before it arrived');
    await world.advance(24_800);
    assertEqual(expired(), ['old'], 'live');
    await world.advance(200);
    assertEqual(expired(), ['old', 'young'], 'after the rest of its life');
    await world.advance(5000);
    assertEqual(expired(), ['old', 'young', 'live'], 'after its whole life');
  },

  async 'does not assume an impossible age'(world) {
    const { events } = await world.connect();
    const expired = () => events('expired').flatMap(({ ids }) => ids);
    world.socket.receiveHello();
    await world.reconnect(2000);
    world.socket.receiveHello({ resumed: true });
    // The clock of the process that accepted the message is five minutes behind.
    world.socket.receiveMessage('replayed', { ttl: 10, ageMs: 1000, clockMs: -300_000 });
    await world.advance(1100);
    world.socket.receiveMessage('live', { ttl: 10, clockMs: -300_000 });
    await world.advance(6700);
    assertEqual(expired(), [], 'it was missed in two seconds at most');
    await world.advance(300);
    assertEqual(expired(), ['replayed'], 'expired');
    await world.advance(2900);
    assertEqual(expired(), ['replayed'], 'a live message has no age');
    await world.advance(300);
    assertEqual(expired(), ['replayed', 'live'], 'expired');
  },

  async 'recognizes the end of a replay'(world) {
    // After a page reload, the time since the previous connection is unknown.
    const { live, events } = await world.connect({ since: 'p' });
    /** @type {number[]} */
    const remaining = [];
    live.on('message', (_, { expires_in_ms }) => remaining.push(expires_in_ms));
    world.socket.receiveHello({ resumed: true });
    for (let n = 0; n < 30; n++) {
      const ageMs = 10_000 - n * 100;
      world.socket.receiveMessage(`replayed ${n}`, { ageMs, clockMs: -300_000 });
      await world.advance(10);
    }
    assertEqual(Math.max(...remaining), 0, 'replayed messages, by estimate');
    for (let n = 0; n < 50; n++) {
      world.socket.receiveMessage(`live ${n}`, { clockMs: -300_000 });
      await world.advance(100);
    }
    const firstLive = remaining.indexOf(60_000) - 30;
    assertEqual(firstLive > 0 && firstLive < 25, true, `within seconds: ${firstLive}`);
    assertEqual(remaining.slice(-25), Array(25).fill(60_000), 'live messages');
    assertEqual(events('message').length, 80, 'all');
  },

  async 'detects that the computer has slept'(world) {
    const { live, events } = await world.connect();
    const expired = () => events('expired').flatMap(({ ids }) => ids);
    world.socket.receiveHello();
    world.socket.receiveMessage('m1', { ttl: 600 });
    world.socket.receiveMessage('m2', { ttl: 7200 });
    world.sleep(3_600_000);
    await world.reconnect();
    world.socket.receiveHello({ resumed: true });
    world.socket.receiveMessage('m3', { ttl: 600, ageMs: 1_800_000 });
    world.socket.receiveMessage('m4', { ttl: 600, ageMs: 300_000 });
    await world.advance(100);
    assertEqual(expired(), ['m1', 'm3'], 'expired in the meantime');
    assertEqual(Math.abs(live.now - Date.parse(world.serverTime)) < 10, true, 'time');
    await world.advance(300_000);
    assertEqual(expired(), ['m1', 'm3', 'm4'], 'the age includes the sleep');
    await world.advance(3_300_000);
    assertEqual(expired(), ['m1', 'm3', 'm4', 'm2'], 'two hours after its arrival');
  },

  async 'returns the time of the server'(world) {
    world.clockSkewMs = 300_000;
    const { live } = await world.connect();
    world.socket.receiveHello();
    // The clock of the process that accepted the message is ahead.
    world.socket.receiveMessage('m1', { clockMs: 600_000 });
    await world.advance(5000);
    world.clockSkewMs = -300_000;
    assertEqual(live.now, Date.parse(world.serverTime), 'time');
  },
});
