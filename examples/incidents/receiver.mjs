// Receives signed notifications as a webhook of yours would: proves the
// signature, refuses what is older than five minutes, and writes one line each
// into received.txt.   node receiver.mjs [port]
import { createHmac, timingSafeEqual } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';

createServer((req, res) => {
  let body = '';
  req.on('data', (d) => (body += d));
  req.on('end', () => {
    const id = req.headers['webhook-id'], at = req.headers['webhook-timestamp'];
    const want = 'v1,' + createHmac('sha256', readFileSync('hook.secret', 'utf8').trim()).update(`${id}.${at}.${body}`).digest('base64');
    const got = String(req.headers['webhook-signature']);
    const good = got.length === want.length && timingSafeEqual(Buffer.from(got), Buffer.from(want)) && Math.abs(Date.now() / 1000 - Number(at)) < 300;
    appendFileSync('received.txt', good ? `${JSON.parse(body).event}: ${JSON.parse(body).text.split('\n')[0]}\n` : 'refused: the signature is not good\n');
    res.writeHead(good ? 204 : 401).end();
  });
}).listen(Number(process.argv[2] ?? 9010), '127.0.0.1', () => console.log('listening'));
