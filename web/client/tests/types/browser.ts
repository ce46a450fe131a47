/** The types in a browser: the classic script defines a global. */

import { connect } from '../../mayfly.mjs';

mayfly.connect({ url: location, WebSocket }).close();
connect({ url: new URL('/', document.baseURI), WebSocket: globalThis.WebSocket }).close();
