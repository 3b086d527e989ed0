// A real OpenID provider on a free port of loopback. It prints one line of JSON,
// {"issuer": …, "secret": …}, when it is ready, and ends when its standard input does.
import { Provider } from 'oidc-provider';
import { SignJWT, exportJWK, generateKeyPair } from 'jose';
import { X509Certificate, createHash, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import http from 'node:http';

// The clients: one, and one whose tokens are bound to its certificate. As behind a
// proxy that ends TLS, the certificate comes in a header.
const client = (id, more) => ({
  client_id: id, client_secret: secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [], ...more,
});
const algorithms = { '/rs': 'RS256', '/ps': 'PS256', '/es': 'ES256', '/ed': 'EdDSA' };
const secret = process.env.SECRET ?? randomBytes(24).toString('base64url');
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
    clients: [client('service'), client('bound', { tls_client_certificate_bound_access_tokens: true })],
    scopes: ['orders:read', 'orders:write'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      mTLS: {
        enabled: true, certificateBoundAccessTokens: true,
        getCertificate: (ctx) => ctx.get('x-client-cert') && new X509Certificate(Buffer.from(ctx.get('x-client-cert'), 'base64')),
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: 'orders:read orders:write', audience: resource, accessTokenTTL: 300,
          accessTokenFormat: new URL(resource).pathname === '/opaque' ? 'opaque' : 'jwt',
          jwt: { sign: { alg: algorithms[new URL(resource).pathname] ?? 'RS256' } },
        }),
      },
    },
  });
  callback = provider.callback();
}

// proof makes a DPoP proof (RFC 9449) with the one key of a client of this process.
const holder = await generateKeyPair('ES256');
async function proof({ method, url, token, nonce }) {
  const claims = { htm: method, htu: url, jti: randomUUID(), nonce };
  if (token) claims.ath = createHash('sha256').update(token).digest('base64url');
  return new SignJWT(claims).setIssuedAt().setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: await exportJWK(holder.publicKey) }).sign(holder.privateKey);
}

const server = http.createServer(async (req, res) => {
  const url = new URL(req.url, 'http://127.0.0.1');
  if (req.method === 'POST' && url.pathname === '/_test/rotate') {
    const keep = Number(url.searchParams.get('keep') ?? 1);
    generations = [generation(), ...generations.slice(0, keep)];
    build();
    res.end(JSON.stringify(generations.flat().map((k) => k.kid)));
    return;
  }
  if (url.pathname === '/_test/proof') {
    res.end(JSON.stringify(await proof(Object.fromEntries(url.searchParams))));
    return;
  }
  if (url.pathname === '/_test/requests') {
    res.end(JSON.stringify(requests));
    return;
  }
  requests[url.pathname] = (requests[url.pathname] ?? 0) + 1;
  callback(req, res);
});

server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  generations = [generation()];
  build();
  console.log(JSON.stringify({ issuer, secret }));
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
