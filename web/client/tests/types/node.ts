/** The types in Node, with the package `ws`. */

import WebSocket, { WebSocket as Named } from 'ws';
import mayfly, { connect } from '../../mayfly.mjs';

connect({ url: new URL('http://127.0.0.1'), WebSocket }).close();
mayfly.connect({ url: 'http://127.0.0.1', WebSocket: Named }).close();
