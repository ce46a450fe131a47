/** Keeps the server's selection equal to the callers' subscriptions. */

import { createError } from './errors.js';
import { KINDS, checkMembers, countBytes, parseNames } from './names.js';
import { findChanges } from './selection.js';
import { Subscriptions } from './subscriptions.js';

/** @import { Names } from '../mayfly.js' */
/** @import { NameLists } from './names.js' */
/** @import { Change, Selection } from './selection.js' */

/** The maximum size of a `connect` frame. The server accepts up to 64 KiB. */
const CONNECT_BYTES_MAX = 64_000;

/**
 * A call to `subscribe` or `unsubscribe`. The call is settled after the server has responded to
 * all frames that were sent before the call or because of it.
 * @typedef {Change & { settle: (error?: Error) => void, error?: Error }} Call
 */
/**
 * A frame that the server has not confirmed, and the call that caused the frame, if any.
 * @typedef {Change & { call?: Call }} Frame
 */

export class Synchronization {
  #subscriptions;
  /** The selection that the server will have after it has processed all sent frames.
   * @type {Selection} */
  #requested;
  /** The unconfirmed frames in the order in which they were sent, each followed by the calls that
   * wait for it.
   * @type {(Frame | Call)[]} */
  #sent = [];
  /** The calls that wait for a connection.
   * @type {Call[]} */
  #waiting = [];
  /** Sends a frame; null while no connection is open.
   * @type {((frame: object) => void) | null} */
  #send = null;
  /** Whether the server has accepted named videos on this connection. */
  #hasNamedVideos = false;
  /** Opens a new connection. */
  #reconnect;
  /** Why the client was closed permanently; undefined until then.
   * @type {string | undefined} */
  #closedBy;

  /**
   * @param {NameLists} names
   * @param {() => void} reconnect
   */
  constructor(names, reconnect) {
    this.#reconnect = reconnect;
    this.#subscriptions = new Subscriptions(names);
    this.#requested = this.#subscriptions.selection;
  }

  /** The selection that callers want. The server may still have a different selection. */
  get selection() {
    return this.#subscriptions.selection;
  }

  /**
   * Returns a `connect` frame that includes the selection, so that the selection is in effect from
   * the start. Videos that do not fit can follow in later frames, because plays are never replayed.
   * @param {object} frame
   */
  writeConnect(frame) {
    const { selection } = this;
    const { channels, isDefault, hosts, feeds, videos } = selection;
    const full = {
      ...frame,
      channels: isDefault ? undefined : channels ? [...channels] : ['*'],
      hosts: [...hosts],
      feeds: [...feeds],
      videos: [''],
    };
    let room = CONNECT_BYTES_MAX - countBytes(full);
    full.videos = [...videos].filter((name) => (room -= countBytes(name)) > 0);
    this.#requested = { ...selection, videos: new Set(full.videos) };
    this.#hasNamedVideos = full.videos.length > 0;
    return full;
  }

  /**
   * Starts to send changes on a connection that has received `hello`.
   * @param {boolean} isLimited whether credentials may allow only some of the requested names
   * @param {(frame: object) => void} send
   */
  start(isLimited, send) {
    this.#send = send;
    this.#sendChanges();
    // The server reports forbidden names after `hello` and before it responds to this frame.
    if (isLimited && this.#waiting.length && !this.#sent.length) {
      this.#sendFrame({ type: 'subscribe', names: {} });
    }
    this.#sent.push(...this.#waiting.splice(0));
    this.#settleCalls();
  }

  /** Stops sending after a disconnect. The next `connect` frame replaces the unconfirmed frames. */
  pause() {
    this.#send = null;
    this.#waiting.unshift(...this.#sent.splice(0).filter(isCall));
  }

  /**
   * Settles all calls when the client is closed permanently.
   * @param {string} reason
   */
  close(reason) {
    this.pause();
    this.#closedBy = reason;
    for (const call of this.#waiting.splice(0)) this.#settle(call);
  }

  /**
   * @param {Change['type']} type
   * @param {Names | string | readonly string[]} given
   * @returns {Promise<true>}
   */
  request(type, given) {
    const isList = typeof given === 'string' || Array.isArray(given);
    const kinds = /** @type {Names} */ (isList ? { channels: given } : given);
    const names = parseNames(checkMembers('name', kinds, KINDS));
    if (type === 'subscribe') this.#subscriptions.check(names);
    /** @type {Promise<true>} */
    const promise = new Promise((resolve, reject) => {
      /** @param {Error} [error] */
      const settle = (error) => (error ? reject(error) : resolve(true));
      this.#execute({ type, names, settle });
    });
    // A caller may ignore the result. In Node, an unhandled rejection would end the process.
    promise.catch(() => {});
    return promise;
  }

  /**
   * Handles the response to the oldest unconfirmed frame.
   * @param {{ code: string, message: string }} [refusal]
   */
  confirm(refusal) {
    const frame = /** @type {Frame | undefined} */ (this.#sent.shift());
    if (frame && refusal) this.#undo(frame, createError(Error, refusal.message, refusal.code));
    else if (frame?.names.videos) this.#hasNamedVideos = true;
    this.#settleCalls();
    // The server has accepted only some of the first named videos. No frame can restore the default
    // of all videos.
    if (this.#hasNamedVideos && this.selection.hasAllVideos && !this.#sent.length) {
      this.#reconnect();
    }
  }

  /**
   * Handles names in the `connect` frame that the credentials do not allow, or names that the
   * server removed because new credentials do not allow them. The names are no longer subscribed.
   * @param {NameLists & { code: string, message: string }} refusal
   */
  forbid(refusal) {
    for (const call of this.#findCalls(refusal)) {
      call.error = createError(Error, refusal.message, refusal.code);
      this.#subscriptions.undo(call.names);
    }
    this.#subscriptions.drop(refusal);
    for (const kind of KINDS) {
      for (const name of refusal[kind] ?? []) this.#requested[kind]?.delete(name);
    }
    this.#sendChanges();
    // If the selection is the default of all channels again, the server has received it as `*`.
    if (refusal.channels?.length) this.#requested = { ...this.#requested, isDefault: false };
  }

  /** @param {Call} call */
  #execute(call) {
    const { type, names } = call;
    if (type === 'subscribe') this.#subscriptions.add(names);
    else {
      const refusal = this.#subscriptions.findRefusal(names);
      if (refusal) return call.settle(refusal);
      this.#subscriptions.remove(names);
    }
    if (this.#closedBy !== undefined) return this.#settle(call);
    if (!this.#send) return void this.#waiting.push(call);
    this.#sendChanges(call);
    this.#sent.push(call);
    this.#settleCalls();
  }

  /**
   * Sends the frames that change the server's selection into the callers' selection.
   * @param {Call} [call]
   */
  #sendChanges(call) {
    const changes = findChanges(this.#requested, this.selection);
    this.#requested = this.selection;
    for (const { type, names } of changes) this.#sendFrame({ type, names, call });
  }

  /** @param {Frame} frame */
  #sendFrame(frame) {
    this.#sent.push(frame);
    this.#send?.({ type: frame.type, ...frame.names });
  }

  /**
   * Returns the `subscribe` calls that wait for a response and contain any of these names.
   * @param {NameLists} names
   */
  #findCalls(names) {
    return this.#sent.filter(isCall).filter((call) => {
      const hasAny = KINDS.some((kind) =>
        names[kind]?.some((name) => call.names[kind]?.includes(name)),
      );
      return call.type === 'subscribe' && !call.error && hasAny;
    });
  }

  /**
   * Handles a frame that the server refused. For a `subscribe` frame, undoes the call that caused
   * the frame, and repeats the other calls that need names in the frame.
   * @param {Frame} frame
   * @param {Error} error
   */
  #undo({ type, names, call }, error) {
    const isFirst = call && !call.error;
    if (isFirst) call.error = error;
    if (type === 'unsubscribe') return;
    if (isFirst) this.#subscriptions.undo(call.names);
    // The server refuses a frame as a whole, so other calls that need names in the frame are
    // repeated with their own frames.
    const others = this.#findCalls(names);
    this.#sent = this.#sent.filter((entry) => !isCall(entry) || !others.includes(entry));
    for (const other of others) this.#subscriptions.undo(other.names);
    // A refused name that is still selected belongs to a call that has already been settled. It is
    // requested again only in the next `connect` frame.
    const { channels, isDefault } = this.selection;
    if (!channels) this.#requested = { ...this.#requested, channels, isDefault };
    for (const kind of KINDS) {
      for (const name of names[kind] ?? []) {
        if (!this.selection[kind]?.has(name)) this.#requested[kind]?.delete(name);
      }
    }
    this.#sendChanges();
    for (const other of others) this.#execute(other);
  }

  /** Settles the calls that no longer wait for a response to a frame. */
  #settleCalls() {
    while (this.#sent.length && isCall(this.#sent[0])) {
      this.#settle(/** @type {Call} */ (this.#sent.shift()));
    }
  }

  /** @param {Call} call */
  #settle({ type, names, settle, error }) {
    if (error || type === 'unsubscribe') settle(error);
    else if (this.#closedBy !== undefined) {
      settle(createError(Error, `the connection is closed: ${this.#closedBy}`, 'closed'));
    } else {
      this.#subscriptions.confirm(names);
      settle();
    }
  }
}

/**
 * @param {Frame | Call} entry
 * @returns {entry is Call}
 */
const isCall = (entry) => 'settle' in entry;
