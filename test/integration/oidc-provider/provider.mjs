// A real OpenID provider on a free port of loopback. It prints one line of JSON,
// {"issuer": …, "secret": …}, when it is ready, and ends when its standard input does.
import { Provider } from 'oidc-provider';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import http from 'node:http';

const algorithms = { '/rs': 'RS256', '/ps': 'PS256', '/es': 'ES256', '/ed': 'EdDSA' };
const secret = randomBytes(24).toString('base64url');
let turn = 0, generations = [], callback, issuer;
const requests = {};

function generation() {
  turn++;
  const key = (alg, type, options) => ({
    ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${turn}`,
  });
  return [
    key('RS256', 'rsa', { modulusLength: 2048 }), key('PS256', 'rsa', { modulusLength: 2048 }),
    key('ES256', 'ec', { namedCurve: 'P-256' }), key('EdDSA', 'ed25519'),
  ];
}

function build() {
  const provider = new Provider(issuer, {
    jwks: { keys: generations.flat() }, // the first key of an algorithm signs
    clients: [{
      client_id: 'service', client_secret: secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
    }],
    scopes: ['orders:read', 'orders:write'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: 'orders:read orders:write', audience: resource, accessTokenTTL: 300, accessTokenFormat: 'jwt',
          jwt: { sign: { alg: algorithms[new URL(resource).pathname] ?? 'RS256' } },
        }),
      },
    },
  });
  callback = provider.callback();
}

const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://127.0.0.1');
  if (req.method === 'POST' && url.pathname === '/_test/rotate') {
    const keep = Number(url.searchParams.get('keep') ?? 1);
    generations = [generation(), ...generations.slice(0, keep)];
    build();
    res.end(JSON.stringify(generations.flat().map((k) => k.kid)));
    return;
  }
  if (url.pathname === '/_test/requests') {
    res.end(JSON.stringify(requests));
    return;
  }
  requests[url.pathname] = (requests[url.pathname] ?? 0) + 1;
  callback(req, res);
});

server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  generations = [generation()];
  build();
  console.log(JSON.stringify({ issuer, secret }));
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
