// Runs the tests of a folder: test.mjs --out DIR [--needs PROGRAM]... FOLDER. They are TypeScript, so they are bundled to
// DIR first; then node's own test runner takes them. Exits with 77, and says so, if a program is not installed.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const { values, positionals } = parseArgs({
  options: { out: { type: 'string' }, needs: { type: 'string', multiple: true, default: [] } },
  allowPositionals: true
});
const [folder] = positionals;
if (!values.out || !folder) throw new Error('test.mjs: --out DIR and a folder are needed');

function isInstalled(program) {
  return (process.env.PATH ?? '').split(delimiter).some(place => {
    try {
      accessSync(join(place, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

const missing = values.needs.filter(program => !isInstalled(program));
if (missing.length > 0) {
  console.log(
    `THE TESTS OF ${folder.toUpperCase()} ARE SKIPPED: ${missing.join(' and ')} is not installed (packages.txt)`
  );
  process.exit(77);
}

rmSync(values.out, { recursive: true, force: true });
mkdirSync(values.out, { recursive: true });
const tests = readdirSync(join(here, folder)).filter(name => name.endsWith('.test.ts'));
await build({
  entryPoints: tests.map(name => join(here, folder, name)),
  outdir: values.out,
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node18',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  external: ['playwright-core'], // Found by NODE_PATH; it does not work in a bundle.
  sourcemap: 'inline'
});
const files = tests.map(name => join(values.out, name.replace(/\.ts$/, '.cjs')));
const run = spawnSync(process.execPath, ['--enable-source-maps', '--test', '--test-reporter=spec', ...files], {
  stdio: 'inherit',
  env: { ...process.env, NODE_PATH: join(here, 'node_modules') }
});
process.exit(run.status ?? 1);
