/**
 * A site with its own log-in, in one file. Each user sees only their own channel: the site signs
 * a token for the logged-in user, and the page sends the token to Mayfly. Requires Node 20.19 or
 * later, and no packages.
 *
 *     (umask 077 && openssl rand -hex 32 > mayfly.secret)
 *     MAYFLY_AUTH__MODE=keys MAYFLY_AUTH__SECRET_FILE=$PWD/mayfly.secret make up
 *     node docs/examples/login.mjs mayfly.secret
 *
 * Open http://localhost:3000 in two browsers, and log in as alice (password "wonderland") and as
 * bob (password "builder").
 */

import { createHmac, randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import process from 'node:process';
import { text } from 'node:stream/consumers';

const [secretFile = 'mayfly.secret'] = process.argv.slice(2);
/** The first secret in the file that Mayfly also reads. */
const SECRET = readFileSync(secretFile, 'utf8').split('\n')[0].trim();
const LIVE_URL = process.env.LIVE_URL ?? 'http://localhost:8080';
const INGEST_URL = process.env.INGEST_URL ?? 'http://localhost:8081';
/** Short, so that a stolen token is soon useless. mayfly.js renews the token in time. */
const TOKEN_LIFETIME_S = 300;

/**
 * @param {string} password
 * @param {string} salt
 */
const hash = (password, salt) => scryptSync(password, salt, 32);
/** The users. A real site has them in its database. */
const USERS = new Map([
  ['alice', { salt: 'a1', hash: hash('wonderland', 'a1') }],
  ['bob', { salt: 'b2', hash: hash('builder', 'b2') }],
]);
/** The usernames by session.
 * @type {Map<string, string>} */
const sessions = new Map();

/** @param {string} username */
const channelOf = (username) => `user.${username}`;

/**
 * Signs a token (a JWT) with the rights of a user. Most sites use a library for this.
 * @param {string} username
 */
function createToken(username) {
  const now = Math.floor(Date.now() / 1000);
  const rights = { publish: [channelOf(username)], subscribe: [channelOf(username)] };
  const claims = { sub: username, iat: now, exp: now + TOKEN_LIFETIME_S, mayfly: rights };
  const content = [{ alg: 'HS256', typ: 'JWT' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.');
  return `${content}.${createHmac('sha256', SECRET).update(content).digest('base64url')}`;
}

/**
 * Returns the ID of a new session, or null if the password is wrong.
 * @param {URLSearchParams} form
 */
function logIn(form) {
  const username = form.get('username') ?? '';
  const user = USERS.get(username);
  const given = hash(form.get('password') ?? '', user?.salt ?? '');
  if (!user || !timingSafeEqual(given, user.hash)) return null;
  const session = randomBytes(32).toString('base64url');
  sessions.set(session, username);
  return session;
}

const LOGIN_PAGE = `<!doctype html>
<title>Log in</title>
<form method="post" action="/login">
  <input name="username" aria-label="Username" autocomplete="username" required>
  <input name="password" aria-label="Password" type="password"
    autocomplete="current-password" required>
  <button>Log in</button>
</form>`;

/** @param {string} username */
const createPage = (username) => `<!doctype html>
<title>${username}</title>
<h1>Messages of ${username}</h1>
<form id="post"><input id="text" aria-label="Message" required> <button>Post</button></form>
<p id="state"></p>
<ol id="messages"></ol>
<form method="post" action="/logout"><button>Log out</button></form>
<script src="${LIVE_URL}/mayfly.js"></script>
<script>
  const channel = '${channelOf(username)}';
  async function getToken() {
    const response = await fetch('/token');
    if (!response.ok) throw new Error('not logged in');
    return (await response.json()).token;
  }
  const find = (id) => document.getElementById(id);
  const live = mayfly.connect({ url: '${LIVE_URL}', channels: [channel], token: getToken });
  live.on('state', (state) => (find('state').textContent = state.state));
  live.on('message', ({ id, username, text }) => {
    const item = document.createElement('li');
    Object.assign(item, { id, textContent: username + ': ' + text });
    find('messages').prepend(item);
  });
  live.on('expired', ({ ids }) => ids.forEach((id) => find(id)?.remove()));
  find('post').addEventListener('submit', async (event) => {
    event.preventDefault();
    const response = await fetch('${INGEST_URL}/v1/messages', {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        Authorization: 'Bearer ' + (await getToken()),
      },
      body: JSON.stringify({ channel, text: find('text').value }),
    });
    if (response.ok) find('text').value = '';
    else find('state').textContent = (await response.json()).detail;
  });
</script>`;

const server = createServer(async (request, response) => {
  const [, session = ''] = /(?:^|; )session=([\w-]+)/.exec(request.headers.cookie ?? '') ?? [];
  const username = sessions.get(session);
  /**
   * @param {number} status
   * @param {Record<string, string>} headers
   */
  const respond = (status, headers, body = '') => {
    response.writeHead(status, { 'Cache-Control': 'no-store', ...headers }).end(body);
  };
  const html = { 'Content-Type': 'text/html; charset=utf-8' };
  const json = { 'Content-Type': 'application/json' };
  switch (`${request.method} ${request.url}`) {
    case 'GET /':
      return respond(200, html, username ? createPage(username) : LOGIN_PAGE);
    case 'GET /token':
      if (!username) return respond(401, json, '{}');
      return respond(200, json, JSON.stringify({ token: createToken(username) }));
    case 'POST /login': {
      const created = logIn(new URLSearchParams(await text(request).catch(() => '')));
      if (!created) return respond(403, html, `Wrong username or password.${LOGIN_PAGE}`);
      // A site that is served over HTTPS also adds `Secure`.
      const cookie = `session=${created}; HttpOnly; SameSite=Strict; Path=/`;
      return respond(303, { Location: '/', 'Set-Cookie': cookie });
    }
    case 'POST /logout':
      sessions.delete(session);
      return respond(303, { Location: '/' });
    default:
      return respond(404, html, 'Not found.');
  }
});

server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  const address = server.address();
  if (typeof address === 'object') console.log(`Open http://localhost:${address?.port}`);
});
