// The client of Mayfly, built from web/client/src by web/client/build.js. See mayfly.d.ts.
var TIMER_MAX_MS = 2 ** 31 - 1;

var SLEEP_MIN_MS = 1e3;

var Clock = class {
  #sleptMs=0;
  #reading;
  get elapsed() {
    return performance.now() + this.#sleptMs;
  }
  get server() {
    const reading = this.#reading;
    return reading ? reading.server + this.elapsed - reading.elapsed : Date.now();
  }
  get isSynchronized() {
    return this.#reading !== void 0;
  }
  synchronize(server) {
    const local = Date.now();
    if (this.#reading) {
      const ms = Math.min(server - this.#reading.server, local - this.#reading.local);
      const sleptMs = ms - (this.elapsed - this.#reading.elapsed);
      if (sleptMs >= SLEEP_MIN_MS) this.#sleptMs += sleptMs;
    }
    this.#reading = {
      server: server,
      local: local,
      elapsed: this.elapsed
    };
  }
};

function createError(Type, message, code = "invalid_field") {
  return Object.assign(new Type(`mayfly: ${message}`), {
    code: code
  });
}

function report(error) {
  (globalThis.reportError ?? console.error)(error);
}

var MESSAGES_MAX = 2e4;

var TIMER_MIN_MS = 50;

var Lifetimes = class {
  #clock;
  #onExpired;
  #messages=new Map;
  #timer;
  #dueAt=Infinity;
  #isStopped=false;
  constructor(clock, onExpired) {
    this.#clock = clock;
    this.#onExpired = onExpired;
  }
  has(id) {
    return this.#messages.has(id);
  }
  add(id, ms) {
    const expiresAt = this.#clock.elapsed + ms;
    this.#messages.set(id, expiresAt);
    if (this.#messages.size > MESSAGES_MAX) {
      const [oldest = ""] = this.#messages.keys();
      this.#messages.delete(oldest);
    }
    this.#schedule(expiresAt);
  }
  end(id) {
    if (this.#messages.has(id)) this.#messages.set(id, null);
  }
  check() {
    this.#schedule(this.#clock.elapsed);
  }
  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }
  #schedule(time) {
    if (time >= this.#dueAt || this.#isStopped) return;
    this.#dueAt = time;
    clearTimeout(this.#timer);
    const ms = Math.max(time - this.#clock.elapsed, TIMER_MIN_MS);
    this.#timer = setTimeout(() => this.#expire(), Math.min(ms, TIMER_MAX_MS));
  }
  #expire() {
    const now = this.#clock.elapsed;
    const ids = [];
    let next = Infinity;
    for (const [id, expiresAt] of this.#messages) {
      if (expiresAt === null) continue;
      if (expiresAt <= now) ids.push(id); else next = Math.min(next, expiresAt);
    }
    for (const id of ids) this.#messages.set(id, null);
    this.#dueAt = Infinity;
    this.#schedule(next);
    if (ids.length) this.#onExpired(ids);
  }
};

var FEEDS = [ "messages", "plays", "rising", "stats", "pulse" ];

var KINDS = [ "channels", "videos", "hosts", "feeds" ];

var RULES = {
  channels: /^(\*|[\w.:-]{1,64})$/,
  videos: /^\P{Surrogate}{1,128}$/u,
  hosts: /^[\w.:-]{1,253}$/,
  feeds: new RegExp(`^(${FEEDS.join("|")})$`)
};

function parseNames(given) {
  const names = {};
  for (const kind of KINDS) {
    const value = given[kind];
    if (value === void 0) continue;
    if (typeof value !== "string" && !Array.isArray(value)) {
      throw createError(TypeError, `${kind} must be a string or an array of strings`);
    }
    const list = typeof value === "string" ? [ value ] : [ ...value ];
    for (const name of list) {
      if (typeof name !== "string" || !RULES[kind].test(name)) {
        throw createError(TypeError, `invalid name in ${kind}: ${name}`);
      }
    }
    names[kind] = kind === "hosts" ? list.map(host => host.toLowerCase()) : list;
  }
  return names;
}

function checkMembers(what, given, known) {
  if (typeof given !== "object" || given === null) {
    throw createError(TypeError, `${what}s must be given as an object`);
  }
  const unknown = Object.keys(given).find(name => !known.includes(name));
  if (unknown === void 0) return given;
  throw createError(TypeError, `unknown ${what}: ${unknown}; expected one of ${known.join(", ")}`);
}

function countBytes(value) {
  return (new TextEncoder).encode(JSON.stringify(value)).length + 1;
}

var EVENTS = [ "message", "expired", "gap", "resumed", "state", "error", ...FEEDS.slice(1) ];

var Listeners = class {
  #entries=new Map;
  add(event, listener) {
    if (!EVENTS.includes(event)) {
      throw createError(TypeError, `unknown event: ${event}; expected one of ${EVENTS.join(", ")}`);
    }
    if (typeof listener !== "function") {
      throw createError(TypeError, `the listener for ${event} must be a function`);
    }
    const entries = this.#entries.get(event) ?? new Set;
    const entry = {
      listener: listener
    };
    this.#entries.set(event, entries.add(entry));
    return () => void entries.delete(entry);
  }
  emit(event, ...details) {
    const entries = this.#entries.get(event) ?? new Set;
    for (const entry of [ ...entries ]) {
      if (!entries.has(entry)) continue;
      const {listener: listener} = entry;
      try {
        const result = listener(...details);
        if (result instanceof Promise) result.catch(report);
      } catch (error) {
        report(error);
      }
    }
  }
};

var LEAD_MAX_MS = 6e4;

var DELAY_MIN_MS = 1e3;

var REPEAT_MS = 1e4;

var Renewal = class {
  #renew;
  #timer;
  #dueAt=Infinity;
  constructor(renew) {
    this.#renew = renew;
  }
  schedule(ms) {
    const leadMs = Math.min(LEAD_MAX_MS, ms / 2) * (1 - Math.random() / 2);
    this.#wait(Math.max(DELAY_MIN_MS, ms - leadMs));
  }
  check() {
    if (Date.now() >= this.#dueAt) this.#start();
  }
  stop() {
    this.#dueAt = Infinity;
    clearTimeout(this.#timer);
  }
  #start() {
    this.#wait(REPEAT_MS);
    this.#renew();
  }
  #wait(ms) {
    this.#dueAt = Date.now() + ms;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#start(), Math.min(ms, TIMER_MAX_MS));
  }
};

var PACE_MS = 1e3;

var Replay = class {
  #clock;
  #ageMaxMs;
  #openedAt;
  #lastAt;
  #checkedAt;
  #lagMs=Infinity;
  #isOver=false;
  constructor(clock, ageMaxMs) {
    this.#clock = clock;
    this.#ageMaxMs = ageMaxMs;
    this.#openedAt = clock.server;
    this.#lastAt = this.#checkedAt = clock.elapsed;
  }
  findAgeMs(created) {
    this.#isOver ||= this.#isLive(created);
    if (this.#isOver) return 0;
    return Math.min(Math.max(0, this.#clock.server - created), this.#ageMaxMs);
  }
  #isLive(created) {
    const now = this.#clock.elapsed;
    if (created >= this.#openedAt || now - this.#lastAt > PACE_MS) return true;
    this.#lastAt = now;
    const lagMs = now - created;
    if (this.#lagMs === Infinity) this.#lagMs = lagMs; else if (now - this.#checkedAt > PACE_MS) {
      if (this.#lagMs - lagMs < PACE_MS / 2) return true;
      this.#lagMs = lagMs;
      this.#checkedAt = now;
    }
    return false;
  }
};

var NAMES_BYTES_MAX = 3900;

function findChanges(from, to) {
  const added = {};
  const removed = {};
  for (const kind of KINDS) {
    const [before, after] = [ from[kind], to[kind] ];
    added[kind] = [ ...after ?? [] ].filter(name => !before?.has(name));
    removed[kind] = [ ...(after && before) ?? [] ].filter(name => !after?.has(name));
  }
  if (from.channels && !to.channels) added.channels = [ "*" ];
  if (!from.channels && to.channels && !(from.isDefault && to.channels.size)) {
    removed.channels = [ "*" ];
  }
  return [ ...splitNames("unsubscribe", removed, [ "channels", "videos" ]), ...splitNames("subscribe", added, [ "channels", "videos", "hosts", "feeds" ]), ...splitNames("unsubscribe", removed, [ "feeds", "hosts" ]) ];
}

function splitNames(type, names, kinds) {
  const changes = [];
  let part = {};
  let bytes = Infinity;
  for (const kind of kinds) {
    for (const name of names[kind] ?? []) {
      const size = countBytes(name);
      if (bytes + size > NAMES_BYTES_MAX) {
        part = {};
        bytes = 0;
        changes.push({
          type: type,
          names: part
        });
      }
      bytes += size;
      (part[kind] ??= []).push(name);
    }
  }
  return changes;
}

var NAMES_MAX = 128;

var Subscriptions = class {
  #counts={
    channels: new Map,
    videos: new Map,
    hosts: new Map,
    feeds: new Map
  };
  #named;
  #unconfirmed=new Set;
  #selection;
  constructor(names) {
    this.#named = new Set(KINDS.filter(kind => names[kind]));
    this.#selection = this.#select();
    this.check(names);
    this.add({
      feeds: [ "messages" ],
      ...names
    });
  }
  get selection() {
    return this.#selection;
  }
  check(names) {
    for (const kind of KINDS) {
      const all = new Set([ ...this.#counts[kind].keys(), ...names[kind] ?? [] ]);
      all.delete("*");
      if (all.size <= NAMES_MAX) continue;
      throw createError(RangeError, `at most ${NAMES_MAX} ${kind}`, "too_many_channels");
    }
    if (names.feeds?.includes("rising") && !names.hosts && !this.#named.has("hosts")) {
      throw createError(TypeError, "the rising feed requires hosts");
    }
  }
  findRefusal({channels: channels, videos: videos}) {
    if (channels?.length && !channels.includes("*") && !this.#named.has("channels")) {
      const rule = "cannot be removed from a subscription to all channels; unsubscribe from *, then subscribe to the channels to keep";
      return createError(Error, `${channels} ${rule}`);
    }
    if (videos?.length && !this.#named.has("videos")) {
      return createError(Error, `${videos} cannot be removed from a subscription to all videos`);
    }
    return null;
  }
  add(names) {
    for (const kind of KINDS) {
      if (!names[kind]?.length || this.#named.has(kind)) continue;
      this.#named.add(kind);
      this.#unconfirmed.add(kind);
    }
    this.#count(names, 1);
  }
  confirm(names) {
    for (const kind of KINDS) if (names[kind]?.length) this.#unconfirmed.delete(kind);
  }
  undo(names) {
    this.#count(names, -1);
    for (const kind of this.#unconfirmed) {
      if (this.#counts[kind].size) continue;
      this.#unconfirmed.delete(kind);
      this.#named.delete(kind);
    }
    this.#selection = this.#select();
  }
  remove(names) {
    if (names.channels?.includes("*")) this.#named.add("channels");
    this.#count(names, -1);
  }
  drop(names) {
    this.#count(names, -Infinity);
  }
  #count(names, change) {
    for (const kind of KINDS) {
      const counts = this.#counts[kind];
      for (const name of new Set(names[kind])) {
        const count = (counts.get(name) ?? 0) + change;
        if (count > 0) counts.set(name, count); else counts.delete(name);
      }
    }
    this.#selection = this.#select();
  }
  #select() {
    const [channels, videos, hosts, feeds] = KINDS.map(kind => new Set(this.#counts[kind].keys()));
    const hasAllVideos = !this.#named.has("videos");
    if (!hasAllVideos && !videos.size) feeds.delete("plays");
    if (!hosts.size) feeds.delete("rising");
    const isDefault = !this.#named.has("channels");
    const hasAll = isDefault || channels.has("*");
    return {
      channels: hasAll ? null : channels,
      isDefault: isDefault,
      hasAllVideos: hasAllVideos,
      videos: videos,
      hosts: hosts,
      feeds: feeds
    };
  }
};

var CONNECT_BYTES_MAX = 64e3;

var Synchronization = class {
  #subscriptions;
  #requested;
  #sent=[];
  #waiting=[];
  #send=null;
  #hasNamedVideos=false;
  #reconnect;
  #closedBy;
  constructor(names, reconnect) {
    this.#reconnect = reconnect;
    this.#subscriptions = new Subscriptions(names);
    this.#requested = this.#subscriptions.selection;
  }
  get selection() {
    return this.#subscriptions.selection;
  }
  writeConnect(frame) {
    const {selection: selection} = this;
    const {channels: channels, isDefault: isDefault, hosts: hosts, feeds: feeds, videos: videos} = selection;
    const full = {
      ...frame,
      channels: isDefault ? void 0 : channels ? [ ...channels ] : [ "*" ],
      hosts: [ ...hosts ],
      feeds: [ ...feeds ],
      videos: [ "" ]
    };
    let room = CONNECT_BYTES_MAX - countBytes(full);
    full.videos = [ ...videos ].filter(name => (room -= countBytes(name)) > 0);
    this.#requested = {
      ...selection,
      videos: new Set(full.videos)
    };
    this.#hasNamedVideos = full.videos.length > 0;
    return full;
  }
  start(isLimited, send) {
    this.#send = send;
    this.#sendChanges();
    if (isLimited && this.#waiting.length && !this.#sent.length) {
      this.#sendFrame({
        type: "subscribe",
        names: {}
      });
    }
    this.#sent.push(...this.#waiting.splice(0));
    this.#settleCalls();
  }
  pause() {
    this.#send = null;
    this.#waiting.unshift(...this.#sent.splice(0).filter(isCall));
  }
  close(reason) {
    this.pause();
    this.#closedBy = reason;
    for (const call of this.#waiting.splice(0)) this.#settle(call);
  }
  request(type, given) {
    const isList = typeof given === "string" || Array.isArray(given);
    const kinds = isList ? {
      channels: given
    } : given;
    const names = parseNames(checkMembers("name", kinds, KINDS));
    if (type === "subscribe") this.#subscriptions.check(names);
    const promise = new Promise((resolve, reject) => {
      const settle = error => error ? reject(error) : resolve(true);
      this.#execute({
        type: type,
        names: names,
        settle: settle
      });
    });
    promise.catch(() => {});
    return promise;
  }
  confirm(refusal) {
    const frame = this.#sent.shift();
    if (frame && refusal) this.#undo(frame, createError(Error, refusal.message, refusal.code)); else if (frame?.names.videos) this.#hasNamedVideos = true;
    this.#settleCalls();
    if (this.#hasNamedVideos && this.selection.hasAllVideos && !this.#sent.length) {
      this.#reconnect();
    }
  }
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
    if (refusal.channels?.length) this.#requested = {
      ...this.#requested,
      isDefault: false
    };
  }
  #execute(call) {
    const {type: type, names: names} = call;
    if (type === "subscribe") this.#subscriptions.add(names); else {
      const refusal = this.#subscriptions.findRefusal(names);
      if (refusal) return call.settle(refusal);
      this.#subscriptions.remove(names);
    }
    if (this.#closedBy !== void 0) return this.#settle(call);
    if (!this.#send) return void this.#waiting.push(call);
    this.#sendChanges(call);
    this.#sent.push(call);
    this.#settleCalls();
  }
  #sendChanges(call) {
    const changes = findChanges(this.#requested, this.selection);
    this.#requested = this.selection;
    for (const {type: type, names: names} of changes) this.#sendFrame({
      type: type,
      names: names,
      call: call
    });
  }
  #sendFrame(frame) {
    this.#sent.push(frame);
    this.#send?.({
      type: frame.type,
      ...frame.names
    });
  }
  #findCalls(names) {
    return this.#sent.filter(isCall).filter(call => {
      const hasAny = KINDS.some(kind => names[kind]?.some(name => call.names[kind]?.includes(name)));
      return call.type === "subscribe" && !call.error && hasAny;
    });
  }
  #undo({type: type, names: names, call: call}, error) {
    const isFirst = call && !call.error;
    if (isFirst) call.error = error;
    if (type === "unsubscribe") return;
    if (isFirst) this.#subscriptions.undo(call.names);
    const others = this.#findCalls(names);
    this.#sent = this.#sent.filter(entry => !isCall(entry) || !others.includes(entry));
    for (const other of others) this.#subscriptions.undo(other.names);
    const {channels: channels, isDefault: isDefault} = this.selection;
    if (!channels) this.#requested = {
      ...this.#requested,
      channels: channels,
      isDefault: isDefault
    };
    for (const kind of KINDS) {
      for (const name of names[kind] ?? []) {
        if (!this.selection[kind]?.has(name)) this.#requested[kind]?.delete(name);
      }
    }
    this.#sendChanges();
    for (const other of others) this.#execute(other);
  }
  #settleCalls() {
    while (this.#sent.length && isCall(this.#sent[0])) {
      this.#settle(this.#sent.shift());
    }
  }
  #settle({type: type, names: names, settle: settle, error: error}) {
    if (error || type === "unsubscribe") settle(error); else if (this.#closedBy !== void 0) {
      settle(createError(Error, `the connection is closed: ${this.#closedBy}`, "closed"));
    } else {
      this.#subscriptions.confirm(names);
      settle();
    }
  }
};

var isCall = entry => "settle" in entry;

var RULE = "expected http(s):// or ws(s):// with a host, or a path on a page of the server";

function parseUrl(given) {
  const text = String((typeof given === "object" ? given?.href : given) ?? "");
  const invalid = rule => createError(TypeError, `invalid url: ${text || "(none)"}: ${rule}`);
  const isPath = /^\/|^$/.test(text);
  if (!isPath && !/^(http|ws)s?:\/\//i.test(text)) throw invalid(RULE);
  let url;
  try {
    url = new URL(text || "/", isPath ? globalThis.location?.origin : void 0);
  } catch {
    throw invalid(RULE);
  }
  url.protocol = url.protocol.replace("http", "ws");
  if (!/^wss?:$/.test(url.protocol)) throw invalid(RULE);
  if (url.search) throw invalid("it must have no query; use the other options");
  if (url.pathname === "/") url.pathname = "/v1/live";
  url.hash = "";
  url.search = "connect=frame";
  return url.href;
}

var OPTIONS = [ "url", ...KINDS, "since", "token", "WebSocket" ];

var POSITION_CHARS_MAX = 257;

var RESPONSE_TIMEOUT_MS = 1e4;

var RECONNECT_DELAY_MIN_MS = 500;

var RECONNECT_DELAY_MAX_MS = 3e4;

var STABLE_MS = 1e4;

var Client = class {
  #url;
  #token;
  #WebSocket;
  #position;
  #state={
    state: "connecting"
  };
  #listeners=new Listeners;
  #clock=new Clock;
  #lifetimes=new Lifetimes(this.#clock, ids => this.#listeners.emit("expired", {
    type: "expired",
    ids: ids,
    by_time: true
  }));
  #renewal=new Renewal(() => this.#renewToken());
  #synchronization;
  #connection=null;
  #receivedAt=-Infinity;
  #failures=0;
  #timer;
  #onOnline=() => this.#checkNow();
  #onVisible=() => globalThis.document?.hidden || this.#checkNow();
  #onPageShow=event => event.persisted && this.#checkNow();
  constructor(options) {
    checkMembers("option", options, OPTIONS);
    const {url: url, since: since, token: token, WebSocket: WebSocket = globalThis.WebSocket} = options;
    if (since != null && typeof since !== "string") {
      throw createError(TypeError, "since must be a string");
    }
    if (token != null && typeof token !== "string" && typeof token !== "function") {
      throw createError(TypeError, "token must be a string or a function");
    }
    this.#url = parseUrl(url);
    this.#position = since || null;
    this.#token = token;
    this.#synchronization = new Synchronization(parseNames(options), () => this.#reconnect(1006, "a subscription was accepted only in part"));
    if (typeof WebSocket !== "function") {
      throw createError(TypeError, "no WebSocket class is available; pass one as the WebSocket option");
    }
    this.#WebSocket = WebSocket;
    this.#watchPage("addEventListener");
    queueMicrotask(() => this.#state.state === "closed" || this.#connect());
  }
  get position() {
    return this.#position;
  }
  get state() {
    return this.#state;
  }
  get now() {
    return this.#clock.server;
  }
  on(event, listener) {
    return this.#listeners.add(event, listener);
  }
  subscribe(names) {
    return this.#synchronization.request("subscribe", names);
  }
  unsubscribe(names) {
    return this.#synchronization.request("unsubscribe", names);
  }
  close() {
    this.#shutDown(1e3, "");
  }
  async #connect() {
    const connection = {
      socket: null,
      hasToken: false,
      openedAt: 0,
      receivedAt: 0,
      pinging: false,
      pingIntervalMs: 25e3,
      replay: null
    };
    this.#connection = connection;
    const startedAt = Date.now();
    const isCurrent = () => this.#connection === connection;
    const isFresh = () => {
      if (!isCurrent()) return false;
      const isLate = Date.now() - startedAt > 2 * RESPONSE_TIMEOUT_MS;
      if (isLate) this.#reconnect(1006, "the attempt was suspended");
      return !isLate;
    };
    this.#setTimer(RESPONSE_TIMEOUT_MS, () => this.#reconnect(1006, "timeout while waiting for the token"));
    this.#setState({
      state: "connecting"
    });
    let token = this.#token;
    try {
      if (typeof token === "function") token = await token();
    } catch (error) {
      if (isCurrent()) this.#reconnect(1006, String(error));
      return;
    }
    if (!isFresh()) return;
    connection.hasToken = Boolean(token);
    this.#setTimer(RESPONSE_TIMEOUT_MS, () => this.#reconnect(1006, "no hello frame"));
    let socket;
    try {
      socket = new this.#WebSocket(this.#url);
    } catch (error) {
      return this.#shutDown(1006, String(error));
    }
    connection.socket = socket;
    socket.onopen = () => {
      const since = this.#position?.slice(0, POSITION_CHARS_MAX);
      const frame = {
        type: "connect",
        token: token || void 0,
        since: since
      };
      if (isFresh()) socket.send(JSON.stringify(this.#synchronization.writeConnect(frame)));
    };
    socket.onmessage = ({data: data}) => isCurrent() && this.#receive(connection, data);
    socket.onclose = ({code: code, reason: reason}) => isCurrent() && this.#reconnect(code, String(reason));
    socket.onerror = () => {};
  }
  #receive(connection, data) {
    connection.receivedAt = this.#clock.elapsed;
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return;
    }
    if (!frame?.type) return;
    if ([ "message", "expired", "position" ].includes(frame.type)) {
      this.#position = frame.position ?? this.#position;
    }
    try {
      this.#dispatch(connection, frame);
    } catch (error) {
      report(error);
    }
    if (connection.openedAt) this.#receivedAt = this.#clock.elapsed;
  }
  #dispatch(connection, frame) {
    const {feeds: feeds, hosts: hosts, videos: videos} = this.#synchronization.selection;
    switch (frame.type) {
     case "hello":
      return this.#onHello(connection, frame);

     case "message":
      return this.#onMessage(connection, frame);

     case "expired":
      for (const id of frame.ids) this.#lifetimes.end(id);
      return this.#listeners.emit("expired", {
        ...frame,
        by_time: false
      });

     case "subscribed":
     case "unsubscribed":
      return this.#synchronization.confirm();

     case "authenticated":
      return this.#scheduleRenewal(frame.expires_at);

     case "error":
      if (!connection.openedAt && frame.code === "request_timeout") {
        return this.#reconnect(1006, frame.message);
      }
      if (!frame.reply_to || frame.reply_to.endsWith("subscribe")) {
        this.#synchronization.confirm(frame);
      } else if (frame.code === "forbidden") this.#synchronization.forbid(frame);
      return this.#listeners.emit("error", frame);

     case "gap":
      return this.#listeners.emit("gap", frame);
    }
    if (!FEEDS.includes(frame.type) || !feeds.has(frame.type)) return;
    if (frame.type === "rising" && !hosts.has(frame.host)) return;
    if (frame.type === "plays" && videos.size) {
      const counts = frame.counts;
      frame.counts = counts.filter(({video_id: video_id}) => videos.has(video_id));
      if (!frame.counts.length) return;
    }
    this.#listeners.emit(frame.type, frame);
  }
  #onHello(connection, frame) {
    this.#position = frame.position;
    const time = Date.parse(frame.time);
    if (time) this.#clock.synchronize(time);
    if (!connection.openedAt) {
      const now = this.#clock.elapsed;
      connection.openedAt = connection.receivedAt = now;
      connection.pingIntervalMs = frame.ping_interval_ms || connection.pingIntervalMs;
      if (frame.resumed) connection.replay = new Replay(this.#clock, now - this.#receivedAt);
      this.#scheduleRenewal(frame.expires_at);
      this.#synchronization.start(connection.hasToken, change => this.#send(connection, change));
      this.#watchSilence(connection);
      this.#setState({
        state: "open",
        connection: frame.connection
      });
    }
    this.#lifetimes.check();
    if (this.#connection === connection && "resumed" in frame) {
      this.#listeners.emit("resumed", frame);
    }
  }
  #onMessage(connection, frame) {
    const {message: message} = frame;
    const created = Date.parse(message.created_at);
    if (created && !this.#clock.isSynchronized) this.#clock.synchronize(created);
    const ageMs = connection.replay?.findAgeMs(created) ?? 0;
    const {channels: channels, feeds: feeds} = this.#synchronization.selection;
    const isWanted = feeds.has("messages") && (!channels || channels.has(message.channel));
    if (!isWanted || this.#lifetimes.has(message.id)) return;
    const ttlMs = Date.parse(message.expires_at) - created;
    const expires_in_ms = Number.isNaN(ttlMs) ? Infinity : Math.max(0, ttlMs - ageMs);
    this.#lifetimes.add(message.id, expires_in_ms);
    this.#listeners.emit("message", message, {
      ...frame,
      expires_in_ms: expires_in_ms
    });
  }
  #scheduleRenewal(expiresAt) {
    const ms = Date.parse(expiresAt) - this.#clock.server;
    if (typeof this.#token !== "function" || Number.isNaN(ms)) this.#renewal.stop(); else this.#renewal.schedule(ms);
  }
  async #renewToken() {
    const connection = this.#connection;
    try {
      const token = typeof this.#token === "function" && await this.#token();
      if (token && connection === this.#connection) this.#send(connection, {
        type: "auth",
        token: token
      });
    } catch {}
  }
  #send(connection, frame) {
    connection?.socket?.send(JSON.stringify(frame));
  }
  #watchSilence(connection) {
    connection.pinging = false;
    const silentMs = this.#clock.elapsed - connection.receivedAt;
    const remainingMs = connection.pingIntervalMs - silentMs;
    if (remainingMs <= 0) this.#ping(connection); else this.#setTimer(remainingMs, () => this.#watchSilence(connection));
  }
  #ping(connection) {
    const pingedAt = this.#clock.elapsed;
    connection.pinging = true;
    this.#send(connection, {
      type: "ping"
    });
    this.#setTimer(RESPONSE_TIMEOUT_MS, () => {
      if (connection.receivedAt >= pingedAt) this.#watchSilence(connection); else this.#reconnect(1006, "no response to a ping");
    });
  }
  #watchPage(method) {
    const {document: document} = globalThis;
    globalThis[method]?.("online", this.#onOnline);
    globalThis[method]?.("pageshow", this.#onPageShow);
    document?.[method]("resume", this.#onVisible);
    document?.[method]("visibilitychange", this.#onVisible);
  }
  #checkNow() {
    const connection = this.#connection;
    if (this.#state.state === "waiting" && !this.#state.asked) this.#connect(); else if (connection?.openedAt && !connection.pinging) this.#ping(connection);
    this.#renewal.check();
    this.#lifetimes.check();
  }
  #reconnect(code, reason) {
    const isExpired = code === 4003 && typeof this.#token === "string";
    if (isExpired || code >= 4500 && code <= 4999) return this.#shutDown(code, reason);
    const openedAt = this.#disconnect()?.openedAt;
    if (openedAt && this.#clock.elapsed - openedAt > STABLE_MS) this.#failures = 0;
    const limit = Math.min(RECONNECT_DELAY_MAX_MS, 2 * RECONNECT_DELAY_MIN_MS * 2 ** this.#failures++);
    const random = RECONNECT_DELAY_MIN_MS + Math.random() * (limit - RECONNECT_DELAY_MIN_MS);
    const asked = /retry_after_ms=(\d+)/.exec(reason);
    const delay_ms = Math.min(asked ? Number(asked[1]) : Math.round(random), TIMER_MAX_MS);
    this.#setTimer(delay_ms, () => this.#connect());
    this.#setState({
      state: "waiting",
      delay_ms: delay_ms,
      asked: Boolean(asked),
      code: code,
      reason: reason
    });
  }
  #shutDown(code, reason) {
    if (this.#state.state === "closed") return;
    this.#disconnect();
    this.#lifetimes.stop();
    this.#watchPage("removeEventListener");
    this.#setState({
      state: "closed",
      code: code,
      reason: reason
    });
    this.#synchronization.close(`${code} ${reason}`.trim());
  }
  #disconnect() {
    const connection = this.#connection;
    this.#connection = null;
    clearTimeout(this.#timer);
    this.#renewal.stop();
    this.#synchronization.pause();
    connection?.socket?.close(1e3);
    return connection;
  }
  #setTimer(ms, callback) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(callback, Math.min(ms, TIMER_MAX_MS));
  }
  #setState(state) {
    this.#state = state;
    this.#listeners.emit("state", state);
  }
};

var connect = (options = {}) => new Client(options);

var module_default = {
  connect: connect
};

export { connect, module_default as default };
