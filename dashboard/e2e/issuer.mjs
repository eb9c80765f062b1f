// An OpenID provider to test against: oidc-provider, which is certified. Whoever signs in is who they say, with an address of that name.
// Prints its address once it listens, and ends with its standard input.
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: 'greenroom',
      client_secret: 'a secret of the tests',
      redirect_uris: ['http://127.0.0.1/v1/oauth/callback'],
      token_endpoint_auth_method: 'client_secret_basic',
    },
  ],
  claims: { email: ['email', 'email_verified'], profile: ['name'] },
  // The claims of these scopes stand in the ID token itself, as with most providers.
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: !id.startsWith('unverified'), name: id }),
  }),
});
// The server under test listens on a port that is drawn after this has begun.
provider.Client.prototype.redirectUriAllowed = (uri) => new URL(uri).pathname === '/v1/oauth/callback';
server.on('request', provider.callback());
console.log(issuer);
process.stdin.on('end', () => process.exit()).resume();
