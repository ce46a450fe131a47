/** The ES module mayfly.mjs. */

import { Client } from './client.js';

/** @import { Options } from '../mayfly.js' */

/** @param {Options} [options] */
export const connect = (options = {}) => new Client(options);

export default { connect };
