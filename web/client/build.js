/**
 * Builds mayfly.js and mayfly.mjs from `src`, each as one file without comments, which are a third
 * of the size. The built files are committed, so that building and running Mayfly does not require
 * Node. With `--check`, the script only reports outdated files.
 */

import { build } from 'esbuild';
import { readFile, writeFile } from 'node:fs/promises';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { minify } from 'terser';

const HEADER =
  '// The client of Mayfly, built from web/client/src by web/client/build.js. See mayfly.d.ts.';

/** @type {{ file: string, source: string, format: 'iife' | 'esm' }[]} */
const FILES = [
  { file: 'mayfly.js', source: 'classic.js', format: 'iife' },
  { file: 'mayfly.mjs', source: 'module.js', format: 'esm' },
];

/** @param {string} path */
const resolve = (path) => fileURLToPath(new URL(path, import.meta.url));

/**
 * Returns the text of a built file.
 * @param {string} source
 * @param {'iife' | 'esm'} format
 */
async function bundle(source, format) {
  const { outputFiles } = await build({
    entryPoints: [resolve(`src/${source}`)],
    bundle: true,
    write: false,
    format,
    target: 'es2022',
    // tsconfig.json is only for the type checks.
    tsconfigRaw: {},
    // classic.js checks that `module` exists before using it.
    logOverride: { 'commonjs-variable-in-esm': 'silent' },
  });
  const { code } = await minify(outputFiles[0].text, {
    ...{ module: format === 'esm', compress: false, mangle: false },
    format: { beautify: true, indent_level: 2, preamble: HEADER },
  });
  return `${code}\n`;
}

for (const { file, source, format } of FILES) {
  const path = resolve(file);
  const text = await bundle(source, format);
  if (text === (await readFile(path, 'utf8').catch(() => ''))) continue;
  if (process.argv.includes('--check')) {
    console.error(`web/client/${file} is outdated: run node web/client/build.js`);
    process.exitCode = 1;
  } else {
    await writeFile(path, text);
  }
}
