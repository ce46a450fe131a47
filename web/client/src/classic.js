/** The classic script mayfly.js, which is also a CommonJS module. */

import mayfly, { connect } from './module.js';

// Node and bundlers recognize the exports only in this form.
if (typeof module === 'object' && module.exports) module.exports = { connect, default: mayfly };
else Object.assign(globalThis, { mayfly });
