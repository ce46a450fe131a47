/** The page: connects its panels to one live connection. */

import { connect } from '../mayfly.mjs';
import { loadServiceUrls, onUnauthorized } from './api.js';
import { Clock } from './clock.js';
import { loadCredentials } from './credentials.js';
import { Heartbeat } from './heartbeat.js';
import { AccessPanel } from './panels/access.js';
import { ConnectionPanel } from './panels/connection.js';
import { FeedPanel } from './panels/feed.js';
import { InboxPanel } from './panels/inbox.js';
import { PlaysPanel } from './panels/plays.js';
import { PostPanel } from './panels/post.js';
import { PulsePanel } from './panels/pulse.js';
import { RisingPanel } from './panels/rising.js';
import { StatsPanel } from './panels/stats.js';
import { load, remove, save } from './storage.js';
import { byId, inputById } from './ui/dom.js';
import { describeFieldError, showFieldError } from './ui/field.js';

/** @import { Live } from '../mayfly.js' */

const CHANNEL = /^[A-Za-z0-9._:-]{1,64}$/;
const CHANNEL_RULE = 'must be 1 to 64 characters of A-Z a-z 0-9 . _ : -';
const CHANNELS_MAX = 128;
/** The close codes for credentials that have expired, are missing or invalid, or were revoked. */
const UNAUTHORIZED = [4003, 4502, 4503];

/** @type {Live | undefined} */
let live;
const urls = loadServiceUrls();
/** The clock outlives the connections. */
const clock = new Clock();
const access = new AccessPanel({ onChange: reopen, onForget: forget });
onUnauthorized((sent, isUserAction) => access.ask(sent, isUserAction));
const connection = new ConnectionPanel({ onToggle: toggle, onMissed: showMissed });
const feed = new FeedPanel({ urls, clock });
const rising = new RisingPanel();
const panels = [
  connection,
  feed,
  new InboxPanel({ urls, clock }),
  new StatsPanel({ urls, clock }),
  new PlaysPanel({ urls, clock }),
  new PulsePanel(),
  rising,
];
new PostPanel({ urls, onPosted: (message) => feed.showPosted(message) });
new Heartbeat({ urls });

const channelsInput = inputById('channels');
channelsInput.value = load('channels') ?? '';
byId('filter').addEventListener('submit', (event) => {
  event.preventDefault();
  applyFilter();
});
channelsInput.addEventListener('input', () => showFieldError(channelsInput, ''));
addEventListener('pagehide', saveSession);
document.addEventListener('visibilitychange', saveSession);

feed.restore(load('messages'));
open();

/** Connects, and resumes from the position that was saved for this tab. */
async function open() {
  const { live_url } = await urls;
  const token = loadCredentials();
  const channels = readChannels(load('channels') ?? '').filter((name) => CHANNEL.test(name));
  const opened = connect({
    url: live_url || new URL('..', import.meta.url).href,
    feeds: ['messages', 'stats', 'plays', 'pulse', 'rising'],
    hosts: rising.hosts,
    since: load('position'),
    channels: channels.length > 0 ? channels : '*',
    token,
  });
  feed.setChannels(channels);
  // The clock must be synchronized before the panels use it.
  opened.on('state', ({ state }) => state === 'open' && clock.synchronize(opened.now));
  for (const panel of panels) panel.watch(opened);
  opened.on('state', (state) => {
    if (state.state !== 'closed' || !UNAUTHORIZED.includes(state.code)) return;
    if (live === opened) access.ask(token, true);
  });
  live = opened;
}

/**
 * Returns the channel names in a text, or none if they include `*`, which means all channels.
 * @param {string} text
 */
function readChannels(text) {
  const channels = text.split(/[\s,]+/).filter(Boolean);
  return channels.includes('*') ? [] : channels;
}

function close() {
  live?.close();
  saveSession();
}

function toggle() {
  if (live?.state.state === 'closed') open();
  else if (live) close();
}

function reopen() {
  if (!live) return;
  close();
  open();
}

/** Removes everything that was received with the credentials, and starts again without them. */
function forget() {
  live?.close();
  live = undefined;
  remove('messages');
  remove('position');
  location.reload();
}

/** @param {number} messages */
function showMissed(messages) {
  feed.showMissed(messages);
}

/** Reconnects with the channels of the filter, unless one of them is invalid. */
function applyFilter() {
  const channels = readChannels(channelsInput.value);
  const invalid = channels.find((name) => !CHANNEL.test(name));
  let error = '';
  if (invalid !== undefined) error = describeFieldError(`The channel “${invalid}”`, CHANNEL_RULE);
  else if (channels.length > CHANNELS_MAX) error = `At most ${CHANNELS_MAX} channels are possible.`;
  showFieldError(channelsInput, error);
  if (error) return channelsInput.focus();
  save('channels', channels.join(' '));
  reopen();
}

/**
 * Saves the position and the messages together, so that a resumed connection adds to the saved
 * messages.
 */
function saveSession() {
  if (!live?.position) return;
  save('messages', feed.serialize());
  save('position', live.position);
}
