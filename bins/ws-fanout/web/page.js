/** The page: wires its panels to one live connection. What they remember, they remember for this tab. */

import { connect } from '../mayfly.js';
import { Connection } from './connection.js';
import { Feed } from './feed.js';
import { Inbox } from './inbox.js';
import { Plays } from './plays.js';
import { Pulse } from './pulse.js';
import { Rising } from './rising.js';
import { Stats } from './stats.js';
import { Visit } from './visit.js';
import { Write } from './write.js';
import { at, recall, remember, showError } from './ground.js';

let live;
/** Where the services are. Nothing on the page waits for it before it is needed. */
const where = load();
const now = () => live?.now ?? Date.now();
const feed = new Feed({ where, now });
const inbox = new Inbox({ where, now });
const stats = new Stats({ where, now });
const plays = new Plays({ now });
const pulse = new Pulse();
const rising = new Rising();
const connection = new Connection({ toggle, resumed: (messages) => feed.noticeResumed(messages) });
new Write({ where });
new Visit({ where });

at('channels').value = recall('channels') ?? '';
at('filter').addEventListener('submit', (event) => {
  event.preventDefault();
  filter();
});
addEventListener('pagehide', keep);
document.addEventListener('visibilitychange', keep);

feed.restore(recall('messages'));
where.then(open);

/** All services are where the page is from, if nobody says otherwise. */
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
function open({ live_url }) {
  const url = live_url || new URL('..', import.meta.url).href;
  const since = recall('position');
  const channels = at('channels').value.split(/[\s,]+/).filter(Boolean);
  const feeds = ['messages', 'stats', 'plays', 'pulse', 'rising'];
  const { hosts } = rising;
  try {
    live = connect({ url, channels, feeds, hosts, since });
    feed.begin(channels);
  } catch (error) {
    showError(at('channels'), error.message.replace(/^mayfly: /, ''));
    at('channels').value = '';
    live = connect({ url, feeds, hosts, since });
    feed.begin([]);
  }
  connection.watch(live);
  feed.watch(live);
  inbox.watch(live);
  stats.watch(live);
  plays.watch(live);
  pulse.watch(live);
  rising.watch(live);
}

function close() {
  live.close();
  keep();
}

function toggle() {
  if (live?.state.state === 'closed') where.then(open);
  else if (live) close();
}

/** Shows other channels, from here on. */
function filter() {
  showError(at('channels'), '');
  remember('channels', at('channels').value.trim());
  if (!live) return;
  close();
  where.then(open);
}

/** Position and messages belong together: what comes after the one is added to the other. */
function keep() {
  if (!live?.position) return;
  remember('messages', feed.save());
  remember('position', live.position);
}
