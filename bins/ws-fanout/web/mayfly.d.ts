/**
 * mayfly.js: the live layer of a site, from the browser's side.
 *
 * One file for every way of loading it, from any origin:
 *
 *     <script src="https://live.example/mayfly.js"></script>      sets the global `mayfly`
 *     import { connect } from 'https://live.example/mayfly.js';   or: import mayfly from …; sets the global, too
 *
 * It is at once a valid classic script and a valid module; the last line of the file says how. As a module it has an
 * `await` at its top, which modules of service workers may not have: there, use `importScripts`.
 *
 * It needs nothing of a page: it runs in workers, and wherever else there is a global `WebSocket`.
 */
export as namespace mayfly;

export function connect(options?: Options): Live;
declare const mayfly: { connect: typeof connect };
export default mayfly;

export type Feed = 'messages' | 'plays' | 'rising' | 'stats' | 'pulse';

/** What to subscribe to, at most 128 of a kind. A single name may stand for a list of one. */
export interface Names {
  /** `[A-Za-z0-9._:-]{1,64}`. */
  channels?: string | string[];
  feeds?: Feed | Feed[];
  /** Videos of the feed `plays`. */
  videos?: string | string[];
  /** Hosts of the feed `rising`, which needs at least one: `[A-Za-z0-9._:-]{1,253}`, case does not matter. */
  hosts?: string | string[];
}

/** Without `channels` it is all channels; without `feeds` it is `messages`. */
export interface Options extends Names {
  /** Address of the server, `http(s)` or `ws(s)`, with or without `/v1/live`; if not given, where the page is from. */
  url?: string | URL;
  /** A position to resume from, as `live.position` or a gap gave it. */
  since?: string | null;
  /** Sent as `token=`. A function is asked anew at each attempt to connect; if it fails, so does the attempt. */
  token?: string | (() => string | null | undefined | Promise<string | null | undefined>);
  /** What to connect with instead of the global `WebSocket`. */
  WebSocket?: new (url: string) => WebSocket;
}

/** A message as the server sent it. Numbers in `data` have passed through `JSON.parse`. */
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
}

/**
 * Messages that have ended. The server says which were taken or deleted; that their time is up, mayfly.js says by
 * itself, for the 20,000 newest. What was replayed after its end comes as a message first, and as expired then.
 */
export interface Expired {
  type: 'expired';
  ids: string[];
  /** True: their time was up. False: they were taken or deleted. */
  by_time: boolean;
  /** Where it was the server who said so. */
  position?: string;
}

/**
 * The server dropped frames, because this client was too slow for them and the server is set up to drop. `position` is
 * that of the last frame before: a second connection with `since: position` brings what was dropped. By itself, the
 * connection goes on after the gap.
 */
export interface Gap {
  type: 'gap';
  dropped: number;
  position: string;
}

/**
 * Whether everything since the position that was handed back comes now, once and in order. If not, something may have
 * been missed, also in the middle of a connection.
 */
export type Resumed =
  | { type: 'hello'; resumed: true; position: string; connection: string }
  | {
      type: 'hello';
      resumed: false;
      /** Too old; lost by the server; or never given out by it. */
      reason: 'window' | 'data_lost' | 'unknown_position';
      position: string;
      connection: string;
    };

export type State =
  | { state: 'connecting' }
  | { state: 'open'; connection: string }
  /** Connects again after `delay_ms`; `asked` where it was the server who named the delay. */
  | { state: 'waiting'; delay_ms: number; asked: boolean; code: number; reason: string }
  /** For good: `close()` was called, or the server said by a code from 4500 to 4999 not to come again. */
  | { state: 'closed'; code: number; reason: string };

/** The newest counts, at most 20 in a frame; each replaces the one before of its video. */
export interface Plays {
  type: 'plays';
  counts: { video_id: string; count: number }[];
}

/** What rises on a host, each time that it is sampled. State: each replaces the one before of its host. */
export interface Rising {
  type: 'rising';
  /** In small letters. */
  host: string;
  sampled_at: string;
  /** When the sample before was taken, if there was one. */
  compared_to: string | null;
  window: '5s' | (string & {});
  /** Visitors of the host, of all its pages. */
  visitors: number;
  /** False where there are so many that only one visitor in some is counted. */
  exact: boolean;
  /** At most 100: the highest score first, those without one last. */
  pages: RisingPage[];
  [more: string]: unknown;
}

export interface RisingPage {
  path: string;
  title: string | null;
  visitors: number;
  /** How many more than before, or fewer; null where it was not among the pages then. */
  change: number | null;
  /** The change relative to what was there before; null where nobody was. */
  rate: number | null;
  /** How unusual its visitors are, about in standard deviations. */
  score: number | null;
  [more: string]: unknown;
}

/** State: each replaces the one before. Who subscribes gets the last one at once, if there is one. */
export interface Stats {
  type: 'stats';
  /** Where the API has it. */
  url: string;
  snapshot: Snapshot;
}

/** The statistics over all messages ever stored. */
export interface Snapshot {
  result: 'success';
  generated_at: string;
  cities: number;
  users: number;
  messages: { total: number; last_hour: number; last_minute: number };
  top_cities: { city: string; state: string | null; messages: number }[];
  [more: string]: unknown;
}

/** How Mayfly is, once a second. State: each replaces the one before. */
export interface Pulse {
  type: 'pulse';
  generated_at: string;
  /** What waits to be stored. Where nothing waits, its age is 0. */
  queue: { depth: number; oldest_age_ms: number; dead_letters: number };
  /** Per second. */
  rates: { accepted: number; stored: number; delivered: number };
  /** How long it takes until a message is consumed; null where none was within the last minute. */
  consumption_ms: {
    latest: number | null;
    average: number | null;
    p50: number | null;
    p99: number | null;
  };
  /** Clients that are connected. */
  connections: number;
  [more: string]: unknown;
}

/** What the server said about a frame of this client that it refuses. */
export interface Refusal {
  type: 'error';
  code: 'invalid_json' | 'invalid_field' | 'too_many_channels' | (string & {});
  message: string;
}

export interface Events {
  /** Each message once, however often it is sent again. */
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
 * A connection that lasts: it comes back by itself, with what it was subscribed to and from where it was. Between
 * attempts it waits 0.5 to 30 seconds, longer the more of them failed, and at random; or as long as the server said.
 */
export interface Live {
  /** Calls a function at every event of a kind; gives a function that ends this. */
  on<E extends keyof Events>(event: E, listener: Events[E]): () => void;
  /**
   * Adds names. True as soon as the server has them: what is published from then on arrives. False if it refused, or
   * if the connection is closed for good. Names that cannot be right are thrown back at once.
   */
  subscribe(names: Names | string | string[]): Promise<boolean>;
  /** Removes names. What is emptied by this is empty, and no more "all". */
  unsubscribe(names: Names | string | string[]): Promise<boolean>;
  /** Ends it for good. */
  close(): void;
  /** The position to hand back as `since`; null until there is one. */
  readonly position: string | null;
  /** What the last `state` event said. */
  readonly state: State;
  /** The server's time as far as it is known, in milliseconds since 1970. */
  readonly now: number;
}
