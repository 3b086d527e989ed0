// Compresses what vite built, keeps only the compressed form of text, and
// writes dist/SOURCES: the hash of every source the build was made from, by
// which a Go test tells whether dist belongs to the sources beside it.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const files = (dir) =>
  readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? files(join(dir, e.name)) : [join(dir, e.name)]));

for (const file of files('dist')) {
  if (!/\.(js|css|svg)$/.test(file)) continue;
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
