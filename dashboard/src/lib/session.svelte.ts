// Who is signed in: an API key, kept for this tab, or for this browser when asked. It travels in a header that no other site's page
// can set, so no request is made in its name from elsewhere.
const STORED_AS = 'greenroom.key';

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
  begin(key: string, stay: boolean) {
    (stay ? localStorage : sessionStorage).setItem(STORED_AS, key);
    this.key = key;
    this.ended = undefined;
  }

  /** Signs out. */
  end() {
    sessionStorage.removeItem(STORED_AS);
    localStorage.removeItem(STORED_AS);
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
