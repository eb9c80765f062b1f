-- Sign-ins that have begun and are not finished: with a provider, with a code for the dashboard, or on another device. A few minutes each.

CREATE TABLE sign_ins (
    hash       TEXT PRIMARY KEY,
    user_code  TEXT UNIQUE,
    state      TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sign_ins_by_expiry ON sign_ins (expires_at);
