/** The example of a site with its own log-in. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const EXAMPLE = fileURLToPath(new URL('../../../docs/examples/login.mjs', import.meta.url));
const SECRET = 's'.repeat(64);

/** @type {string} */
let directory;
/** @type {import('node:child_process').ChildProcess} */
let server;
/** @type {string} */
let url;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'mayfly-login-'));
  const file = join(directory, 'secret');
  await writeFile(file, `${SECRET}\nan older secret\n`);
  const env = { ...process.env, PORT: '0' };
  server = spawn(process.execPath, [EXAMPLE, file], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise((resolve) => server.stdout?.once('data', resolve));
  url = String(line).trim().replace('Open ', '').replace('localhost', '127.0.0.1');
});

after(async () => {
  server.kill();
  await rm(directory, { recursive: true });
});

/**
 * @param {string} username
 * @param {string} password
 */
const logIn = (username, password) =>
  fetch(`${url}/login`, {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams({ username, password }),
  });

test('a user receives a signed token for their own channel', async () => {
  const response = await logIn('alice', 'wonderland');
  assert.equal(response.status, 303);
  const cookie = String(response.headers.get('set-cookie')).split(';')[0];
  const page = await (await fetch(url, { headers: { cookie } })).text();
  assert.match(page, /user\.alice/);
  const tokenResponse = await fetch(`${url}/token`, { headers: { cookie } });
  const { token } = /** @type {{ token: string }} */ (await tokenResponse.json());
  const [head, claims, signature] = token.split('.');
  /** @param {string} part */
  const decode = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());
  assert.equal(decode(head).alg, 'HS256');
  const { sub, iat, exp, mayfly } = decode(claims);
  assert.deepEqual([sub, exp - iat], ['alice', 300]);
  assert.deepEqual(mayfly, { publish: ['user.alice'], subscribe: ['user.alice'] });
  const expected = createHmac('sha256', SECRET).update(`${head}.${claims}`).digest('base64url');
  assert.equal(signature, expected);

  await fetch(`${url}/logout`, { method: 'POST', redirect: 'manual', headers: { cookie } });
  assert.equal((await fetch(`${url}/token`, { headers: { cookie } })).status, 401);
});

test('nobody receives a token without a log-in', async () => {
  for (const [username, password] of [
    ['alice', 'builder'],
    ['carol', ''],
    ['', ''],
  ]) {
    const response = await logIn(username, password);
    assert.equal(response.status, 403);
    assert.equal(response.headers.get('set-cookie'), null);
  }
  for (const cookie of ['', 'session=', 'session=guessed']) {
    assert.equal((await fetch(`${url}/token`, { headers: { cookie } })).status, 401);
  }
});
