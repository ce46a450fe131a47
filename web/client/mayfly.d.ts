/**
 * The client of Mayfly's live feeds, for browsers, workers and Node. The server serves it in two
 * forms, from any origin:
 *
 *     <script src="https://live.example/mayfly.js"></script>
 *     import { connect } from 'https://live.example/mayfly.mjs';
 *
 * `mayfly.js` is a classic script, which sets the global `mayfly`. It is also a CommonJS module for
 * `require`. `mayfly.mjs` is an ES module for browsers, bundlers, module workers and Node; it sets
 * no global, and also has a default export.
 */
export as namespace mayfly;

/** Throws a `TypeError` that names an option that is unknown or invalid. */
export function connect(options?: Options): Live;
declare const mayfly: { connect: typeof connect };
export default mayfly;

export type Feed = 'messages' | 'plays' | 'rising' | 'stats' | 'pulse';

/** Names to subscribe to, at most 128 of each kind. A string is a list with one name. */
export interface Names {
  /** `[A-Za-z0-9._:-]{1,64}`. `'*'` means all channels. An empty list means none. */
  channels?: string | readonly string[];
  feeds?: Feed | readonly Feed[];
  /** Videos, for the feed `plays`: 1 to 128 characters. An empty list means none. */
  videos?: string | readonly string[];
  /**
   * Hosts, for the feed `rising`, which requires them: `[A-Za-z0-9._:-]{1,253}`, case-insensitive.
   */
  hosts?: string | readonly string[];
}

/**
 * Without `feeds`, only `messages` is subscribed. Without `channels`, all channels are subscribed
 * until the first `subscribe` that names some; the same applies to `videos`.
 */
export interface Options extends Names {
  /**
   * URL of the server, `http(s)` or `ws(s)`, with or without `/v1/live`, and without a query.
   * Default: the origin of the page.
   */
  url?: string | { readonly href: string } | null;
  /** The position to resume from: `live.position`, or that of a gap. */
  since?: string | null;
  /**
   * Sent in the first frame. A function is called for each attempt to connect; if it fails or takes
   * more than 10 seconds, the attempt fails.
   */
  token?: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  /** Replaces the global `WebSocket`, for example by that of the package `ws` in Node 20. */
  WebSocket?: new (url: string) => WebSocketLike;
}

/** The part of `WebSocket` that the client uses. */
export interface WebSocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(data: string): void;
  close(code?: number): void;
}

/** A message as sent by the server. Numbers in `data` are parsed by `JSON.parse`. */
export interface Message {
  id: string;
  channel: string;
  username: string | null;
  text: string | null;
  city: string | null;
  state: string | null;
  data: unknown;
  created_at: string;
  expires_at: string;
}

export interface MessageFrame {
  type: 'message';
  position: string;
  message: Message;
  /**
   * The remaining life of the message: its time to live, less its age if it was replayed. Use this
   * rather than `expires_at`, which was set by a clock that may differ from all others.
   */
  expires_in_ms: number;
}

/**
 * Messages that have expired. The server reports messages that were taken or deleted. mayfly.js
 * itself reports messages whose time to live has passed since they arrived, for the 20,000 newest. A
 * message that expired before it was replayed is reported first as a message and then as expired.
 */
export interface Expired {
  type: 'expired';
  ids: string[];
  /** True: their time to live has passed. False: they were taken or deleted. */
  by_time: boolean;
  /** Present only if the server reported it. */
  position?: string;
}

/**
 * The server dropped frames because this client was too slow, and the server is configured to drop
 * frames instead of closing the connection. `position` is the position of the last frame before the
 * gap: a second connection with `since: position` receives the dropped messages. This connection
 * continues after the gap.
 */
export interface Gap {
  type: 'gap';
  dropped: number;
  position: string;
}

/**
 * Whether the client receives everything after the position that it sent, once and in order. If
 * `resumed` is false, messages may be missing. The server can also report this while the connection
 * is open.
 */
export type Resumed = {
  type: 'hello';
  connection: string;
  position: string;
  ping_interval_ms: number;
  /** The time of the server. */
  time: string;
} & (
  | { resumed: true }
  | {
      resumed: false;
      /**
       * The position is too old; stream data was lost; or the server does not know the position.
       */
      reason: 'window' | 'data_lost' | 'unknown_position';
    }
);

export type State =
  | { state: 'connecting' }
  | { state: 'open'; connection: string }
  /** Reconnects after `delay_ms`; `asked`: the server requested this delay. */
  | { state: 'waiting'; delay_ms: number; asked: boolean; code: number; reason: string }
  /**
   * Final: `close()` was called, the server closed with a code from 4500 to 4999, which are not
   * retried, or the environment forbids the URL.
   */
  | { state: 'closed'; code: number; reason: string };

/** The newest counts, at most 20 per frame. Each replaces the previous count of its video. */
export interface Plays {
  type: 'plays';
  counts: { video_id: string; count: number }[];
}

/**
 * The trending pages of a host, after each sample. State: each frame replaces the previous one of
 * its host.
 */
export interface Rising {
  type: 'rising';
  /** In lowercase. */
  host: string;
  sampled_at: string;
  /** The time of the previous sample, if any. */
  compared_to: string | null;
  window: '5s' | (string & {});
  /** Visitors on all pages of the host. */
  visitors: number;
  /** False if the counts are estimates from a sample of the visitors. */
  exact: boolean;
  /** At most 100, highest score first, pages without a score last. */
  pages: RisingPage[];
  [more: string]: unknown;
}

export interface RisingPage {
  path: string;
  title: string | null;
  visitors: number;
  /** Difference from the previous sample; null if the page was not in it. */
  change: number | null;
  /** The change relative to the previous sample; null if that had no visitors. */
  rate: number | null;
  /** How unusual the number of visitors is, approximately in standard deviations. */
  score: number | null;
  [more: string]: unknown;
}

/**
 * State: each frame replaces the previous one. A new subscriber receives the last one immediately,
 * if any.
 */
export interface Stats {
  type: 'stats';
  /** Path of the snapshot in the API. */
  url: string;
  snapshot: Snapshot;
}

/** Statistics of all stored messages. */
export interface Snapshot {
  result: 'success';
  generated_at: string;
  cities: number;
  users: number;
  messages: { total: number; last_hour: number; last_minute: number };
  top_cities: { city: string; state: string | null; messages: number }[];
  plays: { total: number; videos: number; top: { video_id: string; count: number }[] };
  [more: string]: unknown;
}

/** System health, once per second. State: each frame replaces the previous one. */
export interface Pulse {
  type: 'pulse';
  generated_at: string;
  /** Messages and plays waiting to be stored. The age is 0 if the queue is empty. */
  queue: { depth: number; oldest_age_ms: number; dead_letters: number };
  /** Per second. */
  rates: { accepted: number; stored: number; delivered: number };
  /**
   * Time from acceptance until an item was stored or counted; null if there was none in the last
   * minute.
   */
  consumption_ms: {
    latest: number | null;
    average: number | null;
    p50: number | null;
    p99: number | null;
  };
  /** Open live connections. */
  connections: number;
  [more: string]: unknown;
}

/** The reason why `subscribe` or `unsubscribe` failed. */
export interface SubscribeError extends Error {
  /** The code of the server, or `closed` if the connection is closed permanently. */
  code: Refusal['code'] | 'closed';
}

/** The server's response to a client frame that it rejected. */
export interface Refusal {
  type: 'error';
  code: 'invalid_json' | 'invalid_field' | 'too_many_channels' | (string & {});
  message: string;
}

export interface Events {
  /** Called once per message, even if the server sends it repeatedly. */
  message: (message: Message, frame: MessageFrame) => void;
  expired: (expired: Expired) => void;
  gap: (gap: Gap) => void;
  resumed: (resumed: Resumed) => void;
  state: (state: State) => void;
  plays: (plays: Plays) => void;
  rising: (rising: Rising) => void;
  stats: (stats: Stats) => void;
  pulse: (pulse: Pulse) => void;
  error: (refusal: Refusal) => void;
}

/**
 * A connection that reconnects automatically, with its subscriptions and from its position. The
 * delay between attempts is random, from 0.5 to 30 seconds, and grows with each failure, unless the
 * server requests a delay.
 */
export interface Live {
  /** Calls `listener` on every event of this type. Returns a function that removes the listener. */
  on<E extends keyof Events>(event: E, listener: Events[E]): () => void;
  /**
   * Adds names. Resolves when the server has confirmed them: everything published from then on is
   * delivered. Without a connection, that is after the next one is open. Rejects with a
   * `SubscribeError` if the server refuses them or the connection is closed permanently; an
   * unhandled rejection has no effect. Throws a `TypeError` immediately if a name is invalid or
   * unknown, and a `RangeError` if there are too many.
   *
   * A name is subscribed until `unsubscribe` was called as often as `subscribe`, so that parts of a
   * program do not affect each other. The names of `connect` count as well.
   */
  subscribe(names: Names | string | readonly string[]): Promise<true>;
  /**
   * Removes names, and resolves when the server has confirmed it. A set that becomes empty stays
   * empty; it does not mean "all". While all channels are subscribed because none were named, only
   * `'*'` can be removed: other channels are rejected with the code `invalid_field`.
   */
  unsubscribe(names: Names | string | readonly string[]): Promise<true>;
  /** Closes the connection permanently. */
  close(): void;
  /** The position to send as `since`; null until the first one is known. */
  readonly position: string | null;
  /** The state of the last `state` event. */
  readonly state: State;
  /** The server's time, as far as it is known, in milliseconds since 1970. */
  readonly now: number;
}
