/** The types, without the types of a browser or of Node. */

import mayfly, { connect } from '../../mayfly.js';
import type { Feed, Live, Message, Options, SubscribeError, WebSocketLike } from '../../mayfly.js';

const channels: readonly string[] = ['a', 'b'];
const feeds = ['messages', 'plays'] as const satisfies readonly Feed[];
class Socket implements WebSocketLike {
  onopen: ((event: object) => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  constructor(readonly url: string) {}
  send(_data: string) {}
  close(_code?: number) {}
}

const options: Options = { channels, feeds, videos: 'v', hosts: channels, WebSocket: Socket };
export const live: Live = connect({ ...options, url: { href: 'http://a' }, since: null });
mayfly.connect({ channels: '*', token: async () => 't' }).close();
connect({ token: () => null, url: undefined });

const off: () => void = live.on('message', (message: Message, { position, expires_in_ms }) => {
  const text: string | null = message.text;
  const rest: number = expires_in_ms;
  void [text, rest, position];
});
off();
live.on('stats', ({ snapshot: { plays } }) => {
  const counts: number[] = [plays.total, plays.videos, ...plays.top.map(({ count }) => count)];
  const ids: string[] = plays.top.map(({ video_id }) => video_id);
  void [counts, ids];
});
live.on('state', (state) => {
  if (state.state === 'waiting') void (state.delay_ms satisfies number);
});
live.on('error', ({ code, reply_to, channels }) => {
  if (code === 'forbidden' && reply_to === 'auth') void (channels satisfies string[] | undefined);
});
live.on('resumed', (hello) => {
  const reason: string = hello.resumed ? '' : hello.reason;
  void [reason, hello.position satisfies string, hello.time satisfies string];
});
export const subscribed: Promise<true> = live.subscribe(channels);
live.unsubscribe({ feeds, videos: channels }).catch((error: SubscribeError) => error.code);

// @ts-expect-error The option is `channels`.
connect({ channel: 'a' });
// @ts-expect-error `null` is not a list of names.
connect({ channels: null });
// @ts-expect-error There is no such feed.
connect({ feeds: ['message'] });
// @ts-expect-error The name is `channels`.
live.subscribe({ channel: 'a' });
// @ts-expect-error There is no such event.
live.on('messages', () => {});
