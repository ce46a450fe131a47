/** Bundles and minifies both forms of the client with common tools, and runs the results. */

import assert from 'node:assert/strict';
import { copyFile, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import vm from 'node:vm';
import esbuild from 'esbuild';
import { rollup } from 'rollup';
import { minify } from 'terser';
import { build as vite5 } from 'vite5';
import { build as vite6 } from 'vite6';
import webpack from 'webpack';
import { WebSocket } from 'ws';
import { startServer } from './server.js';

/** @typedef {typeof import('../mayfly.js')} Mayfly */

/** @type {string} */
let directory;
/** @type {Awaited<ReturnType<typeof startServer>>} */
let server;
/** @type {{ module: string, commonjs: string, required: string }} */
let entries;
/** The copies of both forms, outside of a package. */
let [classic, module] = ['', ''];

before(async () => {
  server = await startServer();
  directory = await mkdtemp(join(tmpdir(), 'mayfly-bundles-'));
  [classic, module] = await Promise.all(
    ['mayfly.js', 'mayfly.mjs'].map(async (name) => {
      const path = join(directory, name);
      await copyFile(fileURLToPath(new URL(`../${name}`, import.meta.url)), path);
      return path;
    }),
  );
  /** @type {(name: string, text: string) => Promise<string>} */
  const write = async (name, text) => {
    const path = join(directory, name);
    await writeFile(path, text);
    return path;
  };
  const use = 'globalThis.app = { connect, mayfly };';
  entries = {
    module: await write('module.mjs', `import mayfly, { connect } from './mayfly.mjs'; ${use}`),
    commonjs: await write('commonjs.mjs', `import mayfly, { connect } from './mayfly.js'; ${use}`),
    required: await write(
      'required.cjs',
      `const mayfly = require('./mayfly.js'); const { connect } = mayfly; ${use}`,
    ),
  };
});

after(async () => {
  await server.close();
  await rm(directory, { recursive: true });
});

/**
 * Checks that a client receives a message.
 * @param {Pick<Mayfly, 'connect'> | undefined} app
 */
async function check(app) {
  assert.equal(typeof app?.connect, 'function');
  const live = /** @type {Mayfly} */ (app).connect({
    url: server.url,
    channels: ['a'],
    WebSocket,
  });
  const message = await new Promise((resolve) => live.on('message', resolve));
  assert.equal(message.channel, 'a');
  assert.equal(await live.subscribe('b'), true);
  live.close();
}

/**
 * Runs a classic script in a separate global scope and returns that scope.
 * @param {string} code
 * @returns {any}
 */
function runScript(code) {
  const globals = { URL, TextEncoder, performance, queueMicrotask, setTimeout, clearTimeout };
  const context = vm.createContext(globals);
  vm.runInContext(code, context);
  return context;
}

/**
 * Runs a bundle of `module.mjs` and checks the client in it.
 * @param {string} code
 * @param {'script' | 'cjs' | 'esm'} kind
 */
async function checkBundle(code, kind) {
  /** @type {any} */
  const globals = globalThis;
  delete globals.app;
  let { app } = globals;
  if (kind === 'script') ({ app } = runScript(code));
  else {
    const path = join(directory, `${Math.random()}.${kind === 'esm' ? 'mjs' : 'cjs'}`);
    await writeFile(path, code);
    if (kind === 'esm') await import(pathToFileURL(path).href);
    else createRequire(import.meta.url)(path);
    ({ app } = globals);
  }
  assert.equal(app.mayfly.connect, app.connect);
  await check(app);
}

test('the classic script defines one global and nothing else', async () => {
  const context = runScript(await readFile(classic, 'utf8'));
  const names = Object.keys(context).filter((name) => !(name in globalThis));
  assert.deepEqual(names, ['mayfly']);
  await check(context.mayfly);
});

test('Node imports and requires the client', async () => {
  const imported = await import(pathToFileURL(module).href);
  assert.equal(imported.default.connect, imported.connect);
  await check(imported);
  const named = await import(pathToFileURL(classic).href);
  assert.equal(named.default.connect, named.connect);
  const required = createRequire(import.meta.url)(classic);
  assert.equal(required.default.connect, required.connect);
  await check(required);
  assert.equal('mayfly' in globalThis, false);
});

test('terser minifies both forms', async () => {
  const options = { toplevel: true, compress: { passes: 2 }, mangle: true };
  const script = await minify(await readFile(classic, 'utf8'), options);
  await check(runScript(script.code ?? '').mayfly);
  const code = await readFile(module, 'utf8');
  const { code: minified = '' } = await minify(code, { ...options, module: true });
  await writeFile(module.replace('.mjs', '.min.mjs'), minified);
  await check(await import(pathToFileURL(module.replace('.mjs', '.min.mjs')).href));
});

for (const entry of /** @type {const} */ (['module', 'commonjs', 'required'])) {
  test(`webpack bundles the client for production: ${entry}`, async () => {
    const output = { path: directory, filename: `webpack-${entry}.js` };
    const compiler = webpack({
      mode: 'production',
      entry: entries[entry],
      output,
      context: directory,
    });
    const stats = await new Promise((resolve, reject) =>
      compiler?.run((error, stats) => (error ? reject(error) : resolve(stats))),
    );
    assert.equal(stats.toString({ all: false, errors: true, warnings: true }), '');
    await checkBundle(await readFile(join(directory, output.filename), 'utf8'), 'script');
  });

  for (const format of /** @type {const} */ (['iife', 'cjs', 'esm'])) {
    test(`esbuild bundles the client for es2020: ${entry}, ${format}`, async () => {
      const { outputFiles, warnings } = await esbuild.build({
        ...{ entryPoints: [entries[entry]], bundle: true, write: false, logLevel: 'silent' },
        ...{ format, target: 'es2020', minify: true },
      });
      assert.deepEqual(warnings, []);
      await checkBundle(outputFiles[0].text, format === 'iife' ? 'script' : format);
    });
  }
}

for (const format of /** @type {const} */ (['iife', 'esm', 'cjs', 'umd'])) {
  test(`rollup bundles the client: ${format}`, async () => {
    const onwarn = (/** @type {{ message: string }} */ warning) => assert.fail(warning.message);
    const bundle = await rollup({ input: entries.module, onwarn });
    const { output } = await bundle.generate({ format, name: 'bundle' });
    await checkBundle(output[0].code, format === 'esm' || format === 'cjs' ? format : 'script');
  });
}

for (const [version, build] of Object.entries({ 5: vite5, 6: vite6 })) {
  test(`Vite ${version} builds a page and a library with the client`, async () => {
    const options = { root: directory, configFile: /** @type {const} */ (false) };
    const logLevel = /** @type {const} */ ('silent');
    const outDir = join(directory, `vite${version}`);
    const rollupOptions = { input: entries.module };
    await build({ ...options, logLevel, build: { outDir: join(outDir, 'page'), rollupOptions } });
    const [file] = await readdir(join(outDir, 'page/assets'));
    await checkBundle(await readFile(join(outDir, 'page/assets', file), 'utf8'), 'esm');
    /** @type {('es' | 'cjs' | 'iife')[]} */
    const formats = ['es', 'cjs', 'iife'];
    const lib = { entry: entries.module, formats, name: 'bundle', fileName: '[format]' };
    await build({ ...options, logLevel, build: { outDir, lib, emptyOutDir: false } });
    for (const format of formats) {
      const names = await readdir(outDir);
      const name = names.find((one) => basename(one).startsWith(format)) ?? '';
      const code = await readFile(join(outDir, name), 'utf8');
      await checkBundle(code, format === 'iife' ? 'script' : format === 'es' ? 'esm' : 'cjs');
    }
  });
}
