/** The client in Node, with the package `ws`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { connect } from '../mayfly.mjs';
import { startServer } from './server.js';

// The test runner reports uncaught errors and unhandled rejections as failures.

/**
 * Waits for a state.
 * @param {import('../mayfly.js').Live} live
 * @param {string} expected
 */
const waitFor = (live, expected) =>
  new Promise((resolve) => live.on('state', ({ state }) => state === expected && resolve(null)));

test('the client retries while the server is down', async () => {
  const { url, close } = await startServer();
  await close();
  const live = connect({ url, WebSocket });
  const subscribed = live.subscribe('a');
  await waitFor(live, 'waiting');
  await waitFor(live, 'waiting');
  live.close();
  await assert.rejects(subscribed, { code: 'closed' });
  live.subscribe('b');
});

test('the client can be closed while it connects', async () => {
  const { url, close } = await startServer();
  const live = connect({ url, WebSocket });
  live.on('state', ({ state }) => state === 'connecting' && queueMicrotask(() => live.close()));
  await waitFor(live, 'closed');
  await close();
});

test('a listener that fails does not end the process', async (context) => {
  const reported = context.mock.method(console, 'error', () => {});
  const { url, close } = await startServer();
  const live = connect({ url, WebSocket, channels: 'a' });
  live.on('message', () => {
    throw new Error('a listener failed');
  });
  live.on('message', async () => {
    throw new Error('a listener failed later');
  });
  await new Promise((resolve) => live.on('message', resolve));
  live.close();
  await close();
  const messages = reported.mock.calls.map(({ arguments: [error] }) => error.message);
  assert.deepEqual(messages, ['a listener failed', 'a listener failed later']);
});

test('a frame without a position does not clear the position', async () => {
  const { url, close } = await startServer();
  const live = connect({ url, WebSocket, channels: 'a' });
  await waitFor(live, 'open');
  await live.subscribe('b');
  assert.equal(live.position, 'p');
  live.close();
  await close();
});

test('the client requires a WebSocket and the URL of a server', () => {
  assert.throws(() => connect({ url: '/v1/live', WebSocket }), /^TypeError: mayfly: invalid url/);
  assert.throws(() => connect({ WebSocket }), /^TypeError: mayfly: invalid url: \(none\)/);
  const undefinedSocket = /** @type {any} */ ({ url: 'http://127.0.0.1:1', WebSocket: null });
  assert.throws(() => connect(undefinedSocket), /^TypeError: mayfly: no WebSocket class/);
});
