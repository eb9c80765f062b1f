// Who is signed in: an API key, kept for this tab, or for this browser when asked. It travels in a header that no other site's page
// can set, so no request is made in its name from elsewhere.
const STORED_AS = 'greenroom.key';
/** Beside a key that the server made for this sign-in, and that ends with it. */
const TOKEN = 'greenroom.token';

class Session {
  key = $state<string>();
  /** Why the last session ended, when its holder did not end it. */
  ended = $state<string>();

  constructor() {
    this.key = sessionStorage.getItem(STORED_AS) ?? localStorage.getItem(STORED_AS) ?? undefined;
    // Signing out in one tab signs out the others.
    window.addEventListener('storage', (event) => {
      if (event.key === STORED_AS && event.newValue === null && !sessionStorage.getItem(STORED_AS))
        this.key = undefined;
    });
  }

  /** Signs in with a key that the server has taken. */
  begin(key: string, stay: boolean, isToken = false) {
    const storage = stay ? localStorage : sessionStorage;
    storage.setItem(STORED_AS, key);
    if (isToken) storage.setItem(TOKEN, 'yes');
    this.key = key;
    this.ended = undefined;
  }

  /** Signs out. A key that was made for this sign-in is worth nothing afterwards; one that somebody has typed stays theirs. */
  end() {
    const isToken = sessionStorage.getItem(TOKEN) ?? localStorage.getItem(TOKEN);
    if (isToken && this.key) {
      const headers = { Authorization: `Bearer ${this.key}`, 'X-Greenroom-Client': 'dashboard' };
      // Whether it arrives or not, this browser forgets the key, and it ends by itself.
      void fetch(`/v1/api_keys/${this.key.split('.')[0]}`, { method: 'DELETE', headers, keepalive: true }).catch(
        () => undefined,
      );
    }
    for (const name of [STORED_AS, TOKEN]) {
      sessionStorage.removeItem(name);
      localStorage.removeItem(name);
    }
    this.key = undefined;
  }

  /** The server has refused `request`: the session is over, unless another has begun since. */
  expire(request: Request) {
    if (!this.key || request.headers.get('Authorization') !== `Bearer ${this.key}`) return;
    this.end();
    this.ended = 'Your key is no longer valid: it has been revoked, or its time is over. Sign in again.';
  }
}

export const session = new Session();
