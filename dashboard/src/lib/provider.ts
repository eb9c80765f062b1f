// Signing in by the identity provider: the authorization code flow with PKCE (RFC 7636), whose secret never leaves this tab. The server
// talks to the provider; the tab exchanges the code that it is sent back with for a token of the server's.
import { api, ok } from './api/client';
import type { Schemas } from './api/client';

const STORED_AS = 'greenroom.sign-in';

interface Begun {
  verifier: string;
  stay: boolean;
  /** Where to go on, below the origin. */
  from: string;
}

/** Sends the tab to the provider. */
export async function leave(stay: boolean): Promise<void> {
  if (!crypto.subtle)
    throw new Error('A browser does this on https and on localhost only: open this page by such an address.');
  const verifier = encoded(crypto.getRandomValues(new Uint8Array(32)));
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
  const begun: Begun = { verifier, stay, from: location.pathname + location.search };
  sessionStorage.setItem(STORED_AS, JSON.stringify(begun));
  location.assign(`/v1/oauth/sign_in?code_challenge=${encoded(new Uint8Array(digest))}`);
}

/** Takes the tab back: the token, and where to go on. */
export async function arrive(hash: string): Promise<{ token: string; stay: boolean; from: string }> {
  const brought = new URLSearchParams(hash.slice(1));
  const stored = sessionStorage.getItem(STORED_AS);
  sessionStorage.removeItem(STORED_AS);
  const error = brought.get('error');
  if (error) throw new Error(error);
  const code = brought.get('code');
  if (!code || !stored) throw new Error('This sign-in was not begun in this tab.');
  const { verifier, stay, from } = JSON.parse(stored) as Begun;
  const body: Schemas['TokenRequest'] = { grant_type: 'authorization_code', code, code_verifier: verifier };
  const { access_token } = await ok(api.POST('/v1/oauth/token', { body }));
  return { token: access_token, stay, from };
}

function encoded(bytes: Uint8Array): string {
  const text = btoa(String.fromCharCode(...bytes));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
