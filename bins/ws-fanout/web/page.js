/** The page: wires its panels to one live connection. What they remember, they remember for this tab. */

import { connect } from '../mayfly.js';
import { Connection } from './connection.js';
import { Feed } from './feed.js';
import { Inbox } from './inbox.js';
import { Write } from './write.js';
import { at, recall, remember, showError } from './ground.js';

const config = await load();
const live_url = config.live_url || new URL('..', import.meta.url).href;

let live;
const feed = new Feed({ list_url: config.list_url, now: () => live.now });
const inbox = new Inbox({ list_url: config.list_url, now: () => live.now });
const connection = new Connection({ toggle, resumed: (messages) => feed.noticeResumed(messages) });
new Write({ ingest_url: config.ingest_url, list_url: config.list_url });

at('filter').addEventListener('submit', (event) => {
  event.preventDefault();
  filter();
});
addEventListener('pagehide', keep);
setInterval(keep, 1000);

at('channels').value = recall('channels') ?? '';
open();

/** Where the services are; all of them here, if nobody says otherwise. */
async function load() {
  const here = { ingest_url: '', list_url: '', live_url: '' };
  try {
    const answer = await fetch(new URL('../config.json', import.meta.url));
    return answer.ok ? { ...here, ...(await answer.json()) } : here;
  } catch {
    return here;
  }
}

/** Connects, from where this tab was when it was connected last. */
function open() {
  try {
    const channels = wanted();
    live = connect({ url: live_url, channels, since: recall('position') });
    feed.begin(channels);
  } catch (error) {
    showError(at('channels'), error.message.replace(/^mayfly: /, ''));
    at('channels').value = '';
    live = connect({ url: live_url, since: recall('position') });
    feed.begin([]);
  }
  connection.watch(live);
  feed.watch(live);
  inbox.watch(live);
}

function close() {
  live.close();
  keep();
}

function toggle() {
  if (live.state.state === 'closed') open();
  else close();
}

/** Shows other channels, from here on. */
function filter() {
  showError(at('channels'), '');
  remember('channels', at('channels').value.trim());
  close();
  open();
}

function wanted() {
  return at('channels').value.split(/[\s,]+/).filter(Boolean);
}

function keep() {
  if (live?.position) remember('position', live.position);
}
