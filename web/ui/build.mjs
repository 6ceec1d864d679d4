// Makes the page: build.mjs --out DIR [--header FILE [--depfile FILE]] [--minify=false]
//
// DIR gets index.html, and below assets/ the script and the style sheet, whose names carry a hash of their content, so
// that browsers may keep them. --header also writes them as C++: an array of tidewright::web::PageFile named kPageFiles,
// with each file as it is and compressed by gzip. --depfile writes what the header was made from, as make has it.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
  options: {
    out: { type: 'string' },
    header: { type: 'string' },
    depfile: { type: 'string' },
    minify: { type: 'string', default: 'true' }
  }
});
if (!options.out) throw new Error('build.mjs: --out DIR is missing');

const TYPES = { '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8' };
const HTML = 'text/html; charset=utf-8';

// What the libraries inside ask to be kept with every copy.
function licenses(packages) {
  const texts = packages.map(name => {
    const text = readFileSync(join(here, 'node_modules', name, 'LICENSE'), 'utf8');
    return `Includes ${name}:\n\n${text.trim()}\n`;
  });
  return `/*\n${texts.join('\n')}*/`;
}

async function bundle() {
  const result = await build({
    entryPoints: { app: join(here, 'src/main.tsx') },
    outdir: '/assets',
    entryNames: '[name]-[hash]',
    bundle: true,
    minify: options.minify !== 'false',
    format: 'iife',
    target: ['es2020'],
    jsx: 'automatic',
    jsxImportSource: 'preact',
    legalComments: 'none',
    banner: { js: licenses(['preact', 'uplot']) },
    metafile: true,
    write: false
  });
  const assets = result.outputFiles.map(file => ({
    path: file.path.replaceAll('\\', '/').replace(/^.*?\/assets\//, '/assets/'),
    type: TYPES[file.path.slice(file.path.lastIndexOf('.'))],
    content: Buffer.from(file.contents)
  }));
  return { assets, inputs: Object.keys(result.metafile.inputs).map(path => resolve(path)) };
}

// index.html with the names of what was bundled.
function indexHtml(assets) {
  let html = readFileSync(join(here, 'src/index.html'), 'utf8');
  for (const extension of ['js', 'css']) {
    const asset = assets.find(file => file.path.endsWith(`.${extension}`));
    html = html.replace(`app.${extension}`, asset.path.slice(1));
  }
  return { path: '/', type: HTML, content: Buffer.from(html) };
}

// Compilers need not take literals of more than 64 KiB, so bytes are cut into adjacent pieces. Octal escapes have three
// digits, so that a digit after one is not taken for its fourth.
function literal(bytes) {
  const pieces = [];
  for (let at = 0; at < bytes.length; at += 4000) {
    let text = '';
    for (const byte of bytes.subarray(at, at + 4000)) {
      const plain = byte >= 32 && byte < 127 && byte !== 34 && byte !== 92 && byte !== 63;
      text += plain ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`;
    }
    pieces.push(`\n    "${text}"`);
  }
  return `std::string_view(${pieces.join('')}, ${bytes.length})`;
}

function header(files) {
  const entries = files.map(file => {
    const tag = createHash('sha256').update(file.content).digest('hex').slice(0, 16);
    const compressed = gzipSync(file.content, { level: 9 });
    return `  {"${file.path}", "${file.type}", "${tag}",\n   ${literal(file.content)},\n   ${literal(compressed)}},\n`;
  });
  return `// Made at build time by web/ui/build.mjs.
#pragma once

#include "web/page.h"

namespace tidewright::web {
inline constexpr PageFile kPageFiles[] = {
${entries.join('')}};
}  // namespace tidewright::web
`;
}

// Or what includes it would be compiled again for nothing.
function writeIfChanged(path, text) {
  if (!existsSync(path) || readFileSync(path, 'utf8') !== text) writeFileSync(path, text);
}

const { assets, inputs } = await bundle();
const files = [indexHtml(assets), ...assets];
rmSync(options.out, { recursive: true, force: true });
mkdirSync(join(options.out, 'assets'), { recursive: true });
for (const file of files) writeFileSync(join(options.out, file.path === '/' ? 'index.html' : file.path), file.content);
if (options.header) writeIfChanged(options.header, header(files));
if (options.depfile) {
  const made = [join(here, 'src/index.html'), ...inputs].map(path => path.replaceAll(' ', '\\ '));
  writeFileSync(options.depfile, `${options.header}: ${made.join(' ')}\n`);
}
const plain = files.reduce((sum, file) => sum + file.content.length, 0);
const compressed = files.reduce((sum, file) => sum + gzipSync(file.content, { level: 9 }).length, 0);
console.log(`page: ${(plain / 1024).toFixed(1)} KiB, ${(compressed / 1024).toFixed(1)} KiB compressed`);
