/** The types of the ES module mayfly.mjs are those of mayfly.js. */
export * from './mayfly.js';
export { default } from './mayfly.js';
