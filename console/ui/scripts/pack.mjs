// Compresses what vite built, keeps only the compressed form of text, and
// writes dist/SOURCES: the hash of every source the build was made from, by
// which a Go test tells whether dist belongs to the sources beside it.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const files = (dir) =>
  readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? files(join(dir, e.name)) : [join(dir, e.name)]));

// What is in the bundle keeps its licence.
const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'));
const notices = Object.entries(lock.packages)
  .filter(([path, p]) => path.startsWith('node_modules/') && !p.dev && !p.optional && !path.includes('/@types/') && existsSync(path))
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([path, p]) => {
    const text = readdirSync(path).find((f) => /^licen[cs]e/i.test(f));
    return `${path.slice('node_modules/'.length)} ${p.version} (${p.license})\n\n${text ? readFileSync(join(path, text), 'utf8').trim() : ''}\n`;
  });
writeFileSync('dist/licenses.txt', notices.join('\n' + '-'.repeat(78) + '\n\n'));

for (const file of files('dist')) {
  if (!/\.(js|css|svg|txt)$/.test(file)) continue;
  const plain = readFileSync(file);
  const br = brotliCompressSync(plain, { params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length } });
  writeFileSync(file + '.br', br);
  writeFileSync(file + '.gz', gzipSync(plain, { level: 9 }));
  rmSync(file);
  console.log(`${relative('dist', file)}  ${plain.length} -> ${br.length} bytes`);
}

const sources = ['index.html', 'package.json', 'package-lock.json', 'tsconfig.json', 'vite.config.ts', ...files('src'), ...files('public'), ...files('scripts')].sort();
const lines = sources.map((f) => `${createHash('sha256').update(readFileSync(f)).digest('hex')}  ${f}`);
writeFileSync(join('dist', 'SOURCES'), lines.join('\n') + '\n');
console.log(`${sources.length} sources, ${files('dist').reduce((n, f) => n + statSync(f).size, 0)} bytes in dist`);
