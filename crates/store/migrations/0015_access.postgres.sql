-- Members of teams, service accounts, keys that are for some environments only, that expire, or that may call so often.

ALTER TABLE users ADD COLUMN kind TEXT NOT NULL DEFAULT 'person';
-- The teams that they belong to, each with what they are in it.
ALTER TABLE users ADD COLUMN teams TEXT NOT NULL DEFAULT '{}';
-- Who they are to the provider that signs them in.
ALTER TABLE users ADD COLUMN subject TEXT;
CREATE UNIQUE INDEX users_by_subject ON users (subject);

ALTER TABLE api_keys ADD COLUMN environment_names TEXT;
ALTER TABLE api_keys ADD COLUMN requests_per_minute BIGINT;
ALTER TABLE api_keys ADD COLUMN expires_at BIGINT;
CREATE INDEX api_keys_by_expiry ON api_keys (expires_at);

-- With what a service account asks for tokens.
CREATE TABLE client_credentials (
    client_id  TEXT PRIMARY KEY,
    user_id    TEXT NOT NULL UNIQUE REFERENCES users (id) ON DELETE CASCADE,
    hash       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TRIGGER users_change AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION note_change('user');
