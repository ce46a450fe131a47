/** A server that implements the part of the protocol that the tests need. */

import { WebSocketServer } from 'ws';

/** @import { AddressInfo } from 'node:net' */

/**
 * Starts a server that sends a message on each channel of the first frame, then an incomplete
 * `position` frame.
 */
export async function startServer() {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  server.on('connection', (socket, { url }) => {
    /** @param {object} frame */
    const send = (frame) => socket.send(JSON.stringify(frame));
    socket.once('message', (data) => {
      const { type, channels } = JSON.parse(String(data));
      if (url !== '/v1/live?connect=frame' || type !== 'connect') return socket.close(4500);
      const time = new Date().toISOString();
      send({ type: 'hello', connection: 'c', position: 'p', ping_interval_ms: 25_000, time });
      for (const channel of channels) {
        const message = { id: channel, channel, created_at: time, expires_at: time };
        send({ type: 'message', position: 'p', message });
      }
      send({ type: 'position' });
      socket.on('message', (frame) => send({ type: `${JSON.parse(String(frame)).type}d` }));
    });
  });
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = /** @type {AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}`,
    close: () => new Promise((resolve) => server.close(resolve)),
  };
}
