// A real OpenID provider on a free port of loopback. It prints one line of JSON,
// {"issuer": …, "secret": …}, when it is ready, and ends when its standard input does.
import { Provider, errors } from 'oidc-provider';
import { SignJWT, createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import { X509Certificate, createHash, generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import http from 'node:http';

const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';

// The clients: one that may also exchange tokens, one that signs its assertions, and one whose tokens are bound to its certificate. As behind a
// proxy that ends TLS, the certificate comes in a header.
const client = (id, more) => ({
  client_id: id, client_secret: secret, grant_types: ['client_credentials'], redirect_uris: [], response_types: [], ...more,
});
const algorithms = { '/rs': 'RS256', '/ps': 'PS256', '/es': 'ES256', '/ed': 'EdDSA' };
const secret = process.env.SECRET ?? randomBytes(24).toString('base64url');
let clientKeys = { keys: [] };
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

// What was issued outlives a rotation, as it would with any provider's database.
const issued = new Map();
class Kept {
  constructor(kind) { this.key = (id) => `${kind}:${id}`; }
  async upsert(id, payload) { issued.set(this.key(id), payload); }
  async find(id) { return issued.get(this.key(id)); }
  async findByUid() { return undefined; }
  async findByUserCode() { return undefined; }
  async consume(id) { Object.assign(issued.get(this.key(id)) ?? {}, { consumed: Math.floor(Date.now() / 1000) }); }
  async destroy(id) { issued.delete(this.key(id)); }
  async revokeByGrantId(grant) { for (const [k, v] of issued) if (v.grantId === grant) issued.delete(k); }
}

function build() {
  const provider = new Provider(issuer, {
    adapter: Kept,
    jwks: { keys: generations.flat() }, // the first key of an algorithm signs
    clients: [client('service', { grant_types: ['client_credentials', exchange] }),
      ...(clientKeys.keys.length ? [client('signed', { client_secret: undefined, token_endpoint_auth_method: 'private_key_jwt', jwks: clientKeys })] : []),
      client('bound', { tls_client_certificate_bound_access_tokens: true })],
    scopes: ['orders:read', 'orders:write'],
    extraTokenClaims: (ctx, token) => (token.gty === 'token_exchange' ? { act: { sub: token.clientId } } : undefined),
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
          scope: 'orders:read orders:write', audience: resource, accessTokenTTL: Number(new URL(resource).searchParams.get('ttl') ?? 300),
          accessTokenFormat: new URL(resource).pathname === '/opaque' ? 'opaque' : 'jwt',
          jwt: { sign: { alg: algorithms[new URL(resource).pathname] ?? 'RS256' } },
        }),
      },
    },
  });
  provider.registerGrantType(exchange, async (ctx) => exchanged(ctx, provider), ['subject_token', 'subject_token_type', 'audience', 'scope', 'resource'], ['audience', 'resource']);
  callback = provider.callback();
}

// exchanged answers a token exchange (RFC 8693): a token of this issuer's for one
// with the same subject, another audience, and the client as who acts.
async function exchanged(ctx, provider) {
  const { subject_token: subject, resource, scope } = ctx.oidc.params;
  let claims;
  try {
    const keys = createLocalJWKSet({ keys: generations.flat().map(({ kty, crv, x, y, n, e, kid, alg, use }) => ({ kty, crv, x, y, n, e, kid, alg, use })) });
    claims = (await jwtVerify(subject, keys, { issuer })).payload;
  } catch {
    throw new errors.InvalidGrant('no such token');
  }
  if (claims.sub === 'nobody' || claims.scope?.includes('orders:write')) throw new errors.InvalidTarget();
  const token = new provider.AccessToken({
    client: ctx.oidc.client, accountId: claims.sub, gty: 'token_exchange', scope: scope ?? 'orders:read',
  });
  token.resourceServer = new provider.ResourceServer(resource, { scope: 'orders:read', audience: resource, accessTokenTTL: 120, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } });
  ctx.body = { access_token: await token.save(), token_type: 'Bearer', expires_in: 120, issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' };
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
  if (req.method === 'POST' && url.pathname === '/_test/client-keys') {
    const parts = [];
    for await (const part of req) parts.push(part);
    clientKeys = JSON.parse(Buffer.concat(parts));
    build();
    res.end('null');
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
