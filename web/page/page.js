/** The page: connects its panels to one live connection. */

import { connect } from '../mayfly.js';
import { loadServiceUrls } from './api.js';
import { Heartbeat } from './heartbeat.js';
import { ConnectionPanel } from './panels/connection.js';
import { FeedPanel } from './panels/feed.js';
import { InboxPanel } from './panels/inbox.js';
import { PlaysPanel } from './panels/plays.js';
import { PostPanel } from './panels/post.js';
import { PulsePanel } from './panels/pulse.js';
import { RisingPanel } from './panels/rising.js';
import { StatsPanel } from './panels/stats.js';
import { load, save } from './storage.js';
import { byId, inputById, showFieldError } from './ui/dom.js';

/** @import { Live, Options } from '../mayfly.js' */

/** @type {Live | undefined} */
let live;
const urls = loadServiceUrls();
const now = () => live?.now ?? Date.now();
const connection = new ConnectionPanel({ onToggle: toggle, onMissed: showMissed });
const feed = new FeedPanel({ urls, now });
const rising = new RisingPanel();
const panels = [
  connection,
  feed,
  new InboxPanel({ urls, now }),
  new StatsPanel({ urls, now }),
  new PlaysPanel({ now }),
  new PulsePanel(),
  rising,
];
new PostPanel({ urls });
new Heartbeat({ urls });

const channelsInput = inputById('channels');
channelsInput.value = load('channels') ?? '';
byId('filter').addEventListener('submit', (event) => {
  event.preventDefault();
  applyFilter();
});
addEventListener('pagehide', saveSession);
document.addEventListener('visibilitychange', saveSession);

feed.restore(load('messages'));
open();

/** Connects, and resumes from the position that was saved for this tab. */
async function open() {
  const { live_url } = await urls;
  const channels = channelsInput.value.split(/[\s,]+/).filter(Boolean);
  /** @type {Options} */
  const options = {
    url: live_url || new URL('..', import.meta.url).href,
    feeds: ['messages', 'stats', 'plays', 'pulse', 'rising'],
    hosts: rising.hosts,
    since: load('position'),
  };
  try {
    live = connect({ ...options, channels });
    feed.setChannels(channels);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    showFieldError(channelsInput, message.replace(/^mayfly: /, ''));
    channelsInput.value = '';
    live = connect(options);
    feed.setChannels([]);
  }
  for (const panel of panels) panel.watch(live);
}

function close() {
  live?.close();
  saveSession();
}

function toggle() {
  if (live?.state.state === 'closed') open();
  else if (live) close();
}

/** @param {number} messages */
function showMissed(messages) {
  feed.showMissed(messages);
}

/** Reconnects with other channels. */
function applyFilter() {
  showFieldError(channelsInput, '');
  save('channels', channelsInput.value.trim());
  if (!live) return;
  close();
  open();
}

/**
 * Saves position and messages together, so that a resumed connection adds to the saved messages.
 */
function saveSession() {
  if (!live?.position) return;
  save('messages', feed.serialize());
  save('position', live.position);
}
