/**
 * The client for Mayfly's live feeds, for browsers, workers and Node. The server serves two forms,
 * which pages of any origin can load:
 *
 *     <script src="https://live.example/mayfly.js"></script>
 *     import { connect } from 'https://live.example/mayfly.mjs';
 *
 * `mayfly.js` is a classic script, which sets the global `mayfly`. It is also a CommonJS module for
 * `require`. `mayfly.mjs` is an ES module for browsers, bundlers, module workers and Node; it sets
 * no global, and also has a default export.
 */
export as namespace mayfly;

/**
 * Opens a live connection. Throws a `TypeError` that names the option if an option is unknown or
 * invalid, and a `RangeError` if there are too many names.
 */
export function connect(options?: Options): Live;
declare const mayfly: { connect: typeof connect };
export default mayfly;

export type Feed = 'messages' | 'plays' | 'rising' | 'stats' | 'pulse';

/** The names for a subscription, at most 128 of each kind. A string is a list with one name. */
export interface Names {
  /** `[A-Za-z0-9._:-]{1,64}`. `'*'` means all channels. An empty list means none. */
  channels?: string | readonly string[];
  feeds?: Feed | readonly Feed[];
  /** Video IDs for the feed `plays`, each of 1 to 128 characters. An empty list means none. */
  videos?: string | readonly string[];
  /**
   * Hosts for the feed `rising`, which requires at least one: `[A-Za-z0-9._:-]{1,253}`,
   * case-insensitive.
   */
  hosts?: string | readonly string[];
}

/**
 * Without `feeds`, the client subscribes only to `messages`. Without `channels`, the client
 * subscribes to all channels until the first `subscribe` call that names channels, or until it
 * unsubscribes from `'*'`. Without `videos`, the client subscribes to all videos until the first
 * `subscribe` call that names videos.
 */
export interface Options extends Names {
  /**
   * The URL of the server: `http(s)` or `ws(s)`, with or without `/v1/live`, without a query.
   * Default: the origin of the page.
   */
  url?: string | { readonly href: string } | null;
  /** The position to resume from: `live.position`, or the `position` of a gap. */
  since?: string | null;
  /**
   * The token (or, outside of browsers, the API key) that authorizes the connection. Sent in
   * frames, never in the URL.
   *
   * A function is called before each connection attempt, and again before the server would close
   * the connection because the token expires, so that the connection stays open. It must return a
   * token that has not expired. If it fails or takes more than 10 seconds, the attempt fails and is
   * repeated. A string cannot be renewed: when it expires, the connection is closed permanently with
   * the code 4003.
   */
  token?: string | null | (() => string | null | undefined | Promise<string | null | undefined>);
  /** Replaces the global `WebSocket`, for example with the class of the `ws` package in Node 20. */
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
   * The remaining time to live in milliseconds. For a replayed message, its estimated age is
   * subtracted. Use this value instead of `expires_at`, which depends on the clock of the process
   * that accepted the message.
   */
  expires_in_ms: number;
}

/**
 * Messages that have expired. The server reports messages that were taken or deleted. The client
 * itself reports messages when their time to live has passed since their arrival, but only for the
 * newest 20,000 messages. A message that expired before it was replayed is reported first as a
 * message and then as expired.
 */
export interface Expired {
  type: 'expired';
  ids: string[];
  /** True if the time to live has passed; false if the messages were taken or deleted. */
  by_time: boolean;
  /** Present only if the server reported the expiry. */
  position?: string;
}

/**
 * Frames that the server dropped because the client did not read fast enough. Sent only if the
 * server is configured to drop frames instead of closing the connection. `position` is the position
 * of the last frame before the gap: a second connection with `since: position` receives the dropped
 * messages. This connection continues after the gap.
 */
export interface Gap {
  type: 'gap';
  dropped: number;
  position: string;
}

/**
 * The result of resuming from the position that the client sent. If `resumed` is true, the client
 * receives every later message for its subscriptions, once and in order. If `resumed` is false, the
 * client may have missed messages. The server also sends this frame, with `resumed: false`, when it
 * detects on an open connection that the client may have missed messages.
 */
export type Resumed = {
  type: 'hello';
  connection: string;
  position: string;
  ping_interval_ms: number;
  /** The server's time. */
  time: string;
} & (
  | { resumed: true }
  | {
      resumed: false;
      /**
       * `window`: the position is older than the resume window. `data_lost`: Redis lost stream
       * data, or the position belongs to another installation. `unknown_position`: the position
       * is malformed.
       */
      reason: 'window' | 'data_lost' | 'unknown_position';
    }
);

export type State =
  | { state: 'connecting' }
  | { state: 'open'; connection: string }
  /** The client reconnects after `delay_ms`. `asked` is true if the server requested this delay. */
  | { state: 'waiting'; delay_ms: number; asked: boolean; code: number; reason: string }
  /**
   * Final: `close()` was called, the server closed the connection with a code from 4500 to 4999
   * (4502: the token was missing, invalid or without any right to subscribe; 4503: it was revoked),
   * a token that is a string expired (4003), or the environment forbids the URL.
   */
  | { state: 'closed'; code: number; reason: string };

/** Changed counts, at most 20 per frame. Each count replaces the previous one of the same video. */
export interface Plays {
  type: 'plays';
  counts: { video_id: string; count: number }[];
}

/**
 * The trending pages of a host, sent after each sample. Each frame replaces the previous frame of
 * the same host.
 */
export interface Rising {
  type: 'rising';
  /** In lowercase. */
  host: string;
  sampled_at: string;
  /** The time of the previous sample, if any. */
  compared_to: string | null;
  window: '5s' | (string & {});
  /** The number of visitors to the whole host. */
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
  /** The difference from the previous sample; null if that sample did not contain the page. */
  change: number | null;
  /** The change relative to the previous number of visitors; null if that number was 0. */
  rate: number | null;
  /** How unusual the number of visitors is, approximately in standard deviations. */
  score: number | null;
  [more: string]: unknown;
}

/**
 * Statistics, sent for each new snapshot. Each frame replaces the previous one. A new subscriber
 * immediately receives the newest frame, if any.
 */
export interface Stats {
  type: 'stats';
  /** The path on list-api that redirects to the snapshot. */
  url: string;
  snapshot: Snapshot;
}

/** Statistics about all stored messages and counted plays. */
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

/** System health, sent once per second. Each frame replaces the previous one. */
export interface Pulse {
  type: 'pulse';
  generated_at: string;
  /**
   * The number of messages and plays waiting to be stored or counted, the age of the oldest one (0
   * if there are none), and the number of dead letters.
   */
  queue: { depth: number; oldest_age_ms: number; dead_letters: number };
  /** Messages and plays per second over the last five seconds; `delivered` counts frames. */
  rates: { accepted: number; stored: number; delivered: number };
  /**
   * Time from the acceptance of a message or play until it was stored or counted, over the last
   * minute; null if nothing was stored or counted in the last minute.
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

/** The error with which the promise of a failed `subscribe` or `unsubscribe` call rejects. */
export interface SubscribeError extends Error {
  /** The code of the server's `error` frame, or `closed` if the client is closed permanently. */
  code: Refusal['code'] | 'closed';
}

/** The server's response to a rejected client frame. */
export interface Refusal {
  type: 'error';
  code:
    | 'invalid_json'
    | 'invalid_field'
    | 'too_many_channels'
    | 'forbidden'
    | 'unauthorized'
    | 'token_expired'
    | (string & {});
  message: string;
  /** The type of the rejected frame, if the server recognized it. */
  reply_to?: 'connect' | 'auth' | 'subscribe' | 'unsubscribe' | 'ping';
  /**
   * With the code `forbidden`, the names that the token does not allow. If `reply_to` is `connect`
   * or `auth`, the connection continues without these names: subscribe to them again when a later
   * token allows them.
   */
  channels?: string[];
  feeds?: string[];
  hosts?: string[];
}

export interface Events {
  /** Called once per message. Duplicates are detected among the newest 20,000 messages. */
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
 * A connection that reconnects automatically, keeps its subscriptions and resumes from its
 * position. The delay between attempts is a random time of at least 0.5 seconds. Its upper limit
 * doubles with each failure, from 1 to 30 seconds. If the server requests a delay, the client waits
 * that long instead.
 */
export interface Live {
  /** Calls `listener` on every event of this type. Returns a function that removes the listener. */
  on<E extends keyof Events>(event: E, listener: Events[E]): () => void;
  /**
   * Subscribes to names. Resolves when the server has confirmed the subscription: everything
   * published afterward is delivered. If no connection is open, the promise resolves after the next
   * connection has been opened. Rejects with a `SubscribeError` if the server rejects the
   * subscription, for example with the code `forbidden`, or the client is closed permanently; an
   * unhandled rejection has no effect. Throws a `TypeError` immediately if a name is invalid or
   * `rising` has no host, and a `RangeError` if there are too many names.
   *
   * The client remains subscribed to a name until `unsubscribe` has been called for the name as
   * many times as `subscribe`, so that different parts of a program can share a connection. A name
   * in the options of `connect` counts as one call to `subscribe`.
   */
  subscribe(names: Names | string | readonly string[]): Promise<true>;
  /**
   * Unsubscribes from names. Resolves when the server has confirmed the change. A set that becomes
   * empty stays empty; it does not mean "all". While the client still has its default subscription
   * to all channels, the promise rejects with the code `invalid_field` if the call names channels
   * but not `'*'`. While the client still has its default subscription to all videos, the same
   * applies to a call that names videos. A refused call changes nothing.
   */
  unsubscribe(names: Names | string | readonly string[]): Promise<true>;
  /** Closes the connection permanently. */
  close(): void;
  /** The position to pass as `since`; null until a position is known. */
  readonly position: string | null;
  /** The state of the last `state` event. */
  readonly state: State;
  /**
   * The server's time in milliseconds since the Unix epoch, or the local time until the server's
   * time is known.
   */
  readonly now: number;
}
