// What mayfly.js promises, one function a promise.

globalThis.cases = {
  async asks_in_the_address_for_what_is_wanted(world) {
    await world.connect({ channels: ['a', 'b'], feeds: 'plays', videos: ['v&1'], since: 'p7', token: async () => 't' });
    const { socket } = world;
    same(socket.url.origin + socket.url.pathname, 'ws://live.example/v1/live', 'the address');
    const asked = ['channel', 'feed', 'video', 'host', 'since', 'token'].map((key) => socket.query(key));
    same(asked, [['a', 'b'], ['plays'], ['v&1'], [], ['p7'], ['t']], 'the query');
  },

  async tells_its_states_from_the_first(world) {
    const { live, of, states } = await world.connect();
    world.socket.greet();
    same(of('state').at(-1), { state: 'open', connection: 'c1' }, 'open');
    world.socket.drop(1006);
    await world.pass(1000);
    world.socket.greet({ resumed: true });
    live.close();
    same(states(), ['connecting', 'open', 'waiting', 'connecting', 'open', 'closed'], 'the states');
    same([live.state.code, world.socket.open, world.timers(), world.listening()], [1000, false, 0, 0], 'all is ended');
  },

  async hands_back_its_position(world) {
    const { live, of } = await world.connect();
    same([live.position, world.socket.query('since')], [null, []], 'none yet');
    world.socket.greet({ position: 'p1' });
    world.socket.message('m1', { position: 'p2' });
    world.socket.say({ type: 'position', position: 'p3' });
    world.socket.say({ type: 'gap', dropped: 12, position: 'p2' });
    same([live.position, of('gap')[0].dropped], ['p3', 12], 'a gap does not move it');
    world.socket.drop(1006);
    await world.pass(1000);
    same(world.socket.query('since'), ['p3'], 'since');
    world.socket.greet({ position: 'p9', resumed: false, reason: 'window' });
    same([live.position, of('resumed')[0].reason], ['p9', 'window'], 'not resumed');
    world.socket.greet({ position: 'p12', resumed: false, reason: 'data_lost' });
    same([live.position, of('resumed')[1].reason], ['p12', 'data_lost'], 'in the middle of a connection');
  },

  async drops_repeats(world) {
    const { of } = await world.connect();
    world.socket.greet();
    world.socket.message('m1');
    world.socket.message('m2');
    world.socket.drop(1006);
    await world.pass(1000);
    world.socket.greet({ resumed: true });
    for (const id of ['m1', 'm2', 'm3']) world.socket.message(id);
    same(of('message').map(({ id }) => id), ['m1', 'm2', 'm3'], 'each once');
  },

  async pauses_between_half_a_second_and_thirty(world) {
    const { live, of } = await world.connect();
    for (let attempt = 0; attempt < 60; attempt++) {
      world.socket.drop(1006);
      await world.pass(live.state.delay_ms);
    }
    const pauses = of('state').filter(({ state }) => state === 'waiting').map(({ delay_ms }) => delay_ms);
    same([pauses.length, world.sockets.length], [60, 61], 'attempts');
    same([pauses[0] <= 1000, Math.min(...pauses) >= 500, Math.max(...pauses) <= 30_000], [true, true, true], String(pauses));
    same(Math.max(...pauses) > 15_000 && new Set(pauses).size > 40, true, `they are spread: ${pauses}`);
  },

  async heeds_what_the_server_asks_for(world) {
    const { of } = await world.connect();
    world.socket.greet();
    world.socket.drop(1001, 'retry_after_ms=7421');
    same(of('state').at(-1).delay_ms, 7421, 'the pause');
    world.fire('online');
    await world.pass(7420);
    same(world.sockets.length, 1, 'not earlier, not even when the network is back');
    await world.pass(1);
    same(world.sockets.length, 2, 'in time');
  },

  async goes_by_the_codes(world) {
    for (const code of [1000, 1001, 1006, 1009, 1011, 4000, 4001, 4002, 4003, 4499, 5000]) {
      const { live } = await world.connect();
      world.socket.drop(code);
      same(live.state.state, 'waiting', code);
      live.close();
    }
    for (const code of [4500, 4501, 4502, 4503, 4999]) {
      const { live } = await world.connect();
      world.socket.drop(code, 'why');
      same(live.state, { state: 'closed', code, reason: 'why' }, code);
      const sockets = world.sockets.length;
      await world.pass(120_000);
      same(world.sockets.length, sockets, 'it does not come again');
    }
  },

  async comes_back_at_once_when_the_network_does(world) {
    const { live } = await world.connect();
    for (let failure = 0; failure < 5; failure++) {
      world.socket.drop(1006);
      if (failure < 4) await world.pass(live.state.delay_ms);
    }
    world.fire('online');
    await world.settle();
    same(world.sockets.length, 6, 'at once');
    await world.pass(9000);
    same(world.sockets.length, 6, 'and only once');
  },

  async pings_a_silent_server_and_leaves_a_dead_one(world) {
    const { states } = await world.connect();
    const { socket } = world;
    socket.greet();
    await world.pass(20_000);
    socket.message('m1');
    await world.pass(24_000);
    same(socket.sent, [], 'a message was a sign of life');
    await world.pass(1500);
    same(socket.sent, [{ type: 'ping' }], 'pinged');
    socket.say({ type: 'pong' });
    await world.pass(25_000);
    same(socket.sent.length, 2, 'pinged again');
    await world.pass(10_000);
    same([states().includes('waiting'), socket.open], [true, false], 'left');
    await world.pass(1000);
    same(world.sockets.length, 2, 'connected again');
    socket.message('late');
  },

  async waits_for_a_greeting_only_so_long(world) {
    await world.connect();
    await world.pass(9999);
    same(world.sockets.length, 1, 'waits');
    await world.pass(1001);
    same(world.sockets.length, 2, 'tries again');
  },

  async says_what_expired(world) {
    const { of } = await world.connect();
    const ids = () => of('expired').map((expired) => [expired.ids, expired.by_time]);
    world.socket.greet();
    world.socket.message('long', { ttl: 604_800 });
    world.socket.message('short', { ttl: 2 });
    world.socket.message('other', { ttl: 2 });
    world.socket.message('taken', { ttl: 3 });
    world.socket.message('born over', { ttl: 0 });
    same(of('message').at(-1).id, 'born over', 'shown first');
    await world.pass(1900);
    same(ids(), [[['born over'], true]], 'all others live');
    await world.pass(200);
    same(ids()[1], [['short', 'other'], true], 'by time, together');
    world.socket.say({ type: 'expired', position: 'p9', ids: ['taken', 'unknown'] });
    same(ids()[2], [['taken', 'unknown'], false], 'by the server');
    await world.pass(60_000);
    same(ids().length, 3, 'none twice');
    await world.pass(604_800_000);
    same(ids()[3], [['long'], true], 'after seven days');
  },

  async holds_more_than_a_timer_can(world) {
    const { of } = await world.connect();
    world.socket.greet();
    world.socket.message('m1', { ttl: 60 * 86_400 });
    await world.pass(59 * 86_400_000);
    same(of('expired'), [], 'it lives');
    await world.pass(86_400_100);
    same(of('expired').length, 1, 'it ends');
  },

  async goes_by_the_clock_of_the_server(world) {
    for (const skew of [-300_000, 300_000]) {
      world.skew = skew;
      const { live, of } = await world.connect();
      world.socket.greet({ time: new Date(Date.now() - skew).toISOString() });
      world.socket.message(`m${skew}`, { ttl: 10 });
      await world.pass(9900);
      same(of('expired'), [], `${skew}: it lives`);
      await world.pass(200);
      same(of('expired').length, 1, `${skew}: it ends`);
      live.close();
    }
    world.skew = -300_000;
    const { of } = await world.connect();
    world.socket.greet();
    world.socket.message('m1', { ttl: 10 });
    await world.pass(10_100);
    same(of('expired').length, 1, 'a slow clock shows by what is new');
  },

  async remembers_only_so_many(world) {
    const { of } = await world.connect();
    world.socket.greet();
    for (let n = 0; n < 20_005; n++) world.socket.message(`m${n}`);
    await world.pass(61_000);
    same(of('expired').flatMap(({ ids }) => ids).length, 20_000, 'the newest are watched');
  },

  async subscribes_and_comes_back_with_it(world) {
    const { live, of } = await world.connect({ channels: ['a'] });
    const early = live.subscribe({ channels: ['b'] });
    same(world.socket.sent, [], 'nothing before the greeting');
    world.socket.greet();
    same(world.socket.sent, [{ type: 'subscribe', channels: ['b'] }], 'then at once');
    const gone = live.unsubscribe({ channels: ['a'] });
    world.socket.say({ type: 'subscribed', channels: ['a', 'b'] });
    same(await early, true, 'in force');
    world.socket.message('of a', { channel: 'a' });
    same(of('message'), [], 'what is not wanted any more is not shown');
    world.socket.drop(1006);
    await world.pass(1000);
    same(world.socket.query('channel'), ['b'], 'in the address');
    world.socket.greet({ resumed: true });
    same([await gone, world.socket.sent], [true, []], 'with nothing left to say');
    const refused = live.subscribe({ hosts: ['x'] });
    world.socket.say({ type: 'error', code: 'invalid_field', message: 'no' });
    same([await refused, of('error')[0].code], [false, 'invalid_field'], 'refused');
    world.socket.drop(1006);
    await world.pass(1000);
    same(world.socket.query('host'), [], 'and not asked for again');
    const never = live.subscribe('c');
    live.close();
    same([await never, await live.subscribe('d')], [false, false], 'closed');
  },

  async names_hosts_in_small_letters(world) {
    const { live, of } = await world.connect({ feeds: 'rising', hosts: 'One.example' });
    same(world.socket.query('host'), ['one.example'], 'in the address');
    world.socket.greet();
    live.subscribe({ hosts: ['Two.example'] });
    world.socket.say({ type: 'subscribed', hosts: ['one.example', 'two.example'] });
    live.unsubscribe({ hosts: 'ONE.example' });
    const asked = [['subscribe', 'two.example'], ['unsubscribe', 'one.example']];
    same(world.socket.sent, asked.map(([type, host]) => ({ type, hosts: [host] })), 'and in frames');
    world.socket.say({ type: 'unsubscribed', hosts: ['two.example'] });
    world.socket.say({ type: 'rising', host: 'two.example', pages: [] });
    same(of('rising').map(({ host }) => host), ['two.example'], 'as they come back');
    world.socket.drop(1006);
    await world.pass(1000);
    same(world.socket.query('host'), ['two.example'], 'also when it comes back');
  },

  async keeps_an_emptied_set_empty(world) {
    const { live, of } = await world.connect({ channels: ['a'] });
    world.socket.greet();
    live.unsubscribe({ channels: ['a'] });
    world.socket.say({ type: 'unsubscribed', channels: [] });
    world.socket.drop(1006);
    await world.pass(1000);
    const [placeholder] = world.socket.query('channel');
    same(Boolean(placeholder), true, 'no channel at all would be all of them');
    world.socket.greet({ resumed: true });
    world.socket.message('stray', { channel: placeholder });
    same([of('message'), world.socket.sent], [[], [{ type: 'unsubscribe', channels: [placeholder] }]], 'empty');
    world.socket.say({ type: 'unsubscribed', channels: [] });
    const b = live.subscribe('b');
    world.socket.say({ type: 'subscribed', channels: ['b'] });
    world.socket.message('of b', { channel: 'b' });
    same([await b, of('message').length], [true, 1], 'until something is named');
  },

  async sends_no_frame_that_is_too_long(world) {
    const { live } = await world.connect();
    world.socket.greet();
    const channels = Array.from({ length: 128 }, (_, n) => String(n).padStart(64, 'x'));
    live.subscribe({ channels, videos: Array.from({ length: 50 }, (_, n) => `${n}${'é'.repeat(120)}`) });
    const bytes = world.socket.sent.map((frame) => new TextEncoder().encode(JSON.stringify(frame)).length);
    same([Math.max(...bytes) <= 4096, bytes.length > 2], [true, true], bytes);
    same(world.socket.sent.flatMap((frame) => frame.channels ?? []), channels, 'all of them');
    const thrown = (call) => {
      try {
        call();
      } catch (error) {
        return error.name;
      }
    };
    same(thrown(() => live.subscribe('one more')), 'TypeError', 'a bad name');
    same(thrown(() => live.subscribe('more')), 'RangeError', 'one too many');
    same(thrown(() => live.subscribe({ feeds: ['none'] })), 'TypeError', 'a bad feed');
    same(thrown(() => live.on('nothing', () => {})), 'TypeError', 'a bad event');
  },

  async asks_for_a_token_each_time(world) {
    let asked = 0;
    const { live } = await world.connect({
      token: async () => {
        asked += 1;
        if (asked === 2) throw new Error('not now');
        return `t${asked}`;
      },
    });
    same(world.socket.query('token'), ['t1'], 'first');
    world.socket.drop(4003, 'token_expired');
    await world.pass(1000);
    same([world.sockets.length, live.state.state], [1, 'waiting'], 'a token that cannot be had is a failed attempt');
    await world.pass(2000);
    same(world.socket.query('token'), ['t3'], 'anew');
  },

  async outlives_a_listener_that_fails(world) {
    const reported = [];
    globalThis.reportError = (error) => reported.push(error.message);
    const { live, of } = await world.connect();
    live.on('message', () => {
      throw new Error('mine');
    });
    const off = live.on('plays', () => reported.push('plays'));
    world.socket.greet();
    world.socket.message('m1');
    off();
    world.socket.say({ type: 'plays', counts: [] });
    world.socket.say({ type: 'of a later version' });
    world.socket.onmessage({ data: 'no JSON' });
    same([of('message').length, of('plays').length, reported], [1, 1, ['mine']], 'it goes on');
  },

  async can_be_closed_by_whatever_it_calls(world) {
    for (const [event, act] of [
      ['state', () => {}],
      ['resumed', (socket) => socket.greet({ resumed: true })],
      ['message', (socket) => (socket.greet(), socket.message('m1'))],
      ['gap', (socket) => (socket.greet(), socket.say({ type: 'gap' }))],
    ]) {
      const live = mayfly.connect({ url: 'http://live.example', WebSocket: world.FakeSocket });
      live.on(event, () => live.close());
      await world.settle();
      if (live.state.state !== 'closed') act(world.socket);
      same([live.state.state, world.timers()], ['closed', 0], event);
    }
  },
};
