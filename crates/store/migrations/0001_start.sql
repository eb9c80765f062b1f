-- What the server remembers, in the subset of SQL that SQLite and PostgreSQL share: TEXT and BIGINT only, JSON as TEXT,
-- times in milliseconds since the epoch (log lines: nanoseconds). Where BIGSERIAL stands, SQLite reads its own spelling.

CREATE TABLE organization (
    singleton   BIGINT PRIMARY KEY CHECK (singleton = 1),
    id          TEXT NOT NULL,
    name        TEXT NOT NULL
);

CREATE TABLE teams (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    is_default  BIGINT NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE users (
    id          TEXT PRIMARY KEY,
    email       TEXT NOT NULL UNIQUE,
    name        TEXT,
    is_admin    BIGINT NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE api_keys (
    prefix      TEXT PRIMARY KEY,
    hash        TEXT NOT NULL,
    name        TEXT,
    kind        TEXT NOT NULL,
    user_id     TEXT REFERENCES users (id),
    team_id     TEXT REFERENCES teams (id),
    model_ids   TEXT,
    created_at  BIGINT NOT NULL,
    CHECK ((user_id IS NULL) <> (team_id IS NULL))
);
CREATE UNIQUE INDEX api_keys_name_of_user ON api_keys (user_id, name);
CREATE UNIQUE INDEX api_keys_name_of_team ON api_keys (team_id, name);

CREATE TABLE secrets (
    id          TEXT PRIMARY KEY,
    team_id     TEXT NOT NULL REFERENCES teams (id),
    folded_name TEXT NOT NULL,
    name        TEXT NOT NULL,
    sealed      TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    UNIQUE (team_id, folded_name)
);

CREATE TABLE models (
    id                        TEXT PRIMARY KEY,
    team_id                   TEXT NOT NULL REFERENCES teams (id),
    name                      TEXT NOT NULL,
    created_at                BIGINT NOT NULL,
    archive_download_disabled BIGINT NOT NULL,
    last_deployment_number    BIGINT NOT NULL,
    UNIQUE (team_id, name)
);

CREATE TABLE deployments (
    id                 TEXT PRIMARY KEY,
    model_id           TEXT NOT NULL REFERENCES models (id),
    name               TEXT NOT NULL,
    created_at         BIGINT NOT NULL,
    kind               TEXT NOT NULL,
    labels             TEXT,
    config             TEXT NOT NULL,
    raw_config         TEXT,
    user_env           TEXT,
    archive_key        TEXT NOT NULL,
    archive_bytes      BIGINT NOT NULL,
    deploy_timeout_ms  BIGINT NOT NULL,
    instance_type      TEXT NOT NULL,
    autoscaling        TEXT NOT NULL,
    target_environment TEXT,
    lifecycle          TEXT NOT NULL,
    target_replicas    BIGINT NOT NULL,
    replica_memory     TEXT NOT NULL,
    generation         BIGINT NOT NULL,
    UNIQUE (model_id, name)
);
CREATE UNIQUE INDEX one_development_deployment_each_model ON deployments (model_id) WHERE kind = 'development';

CREATE TABLE environments (
    model_id           TEXT NOT NULL REFERENCES models (id),
    name               TEXT NOT NULL,
    created_at         BIGINT NOT NULL,
    current_deployment TEXT REFERENCES deployments (id),
    autoscaling        TEXT NOT NULL,
    promotion_settings TEXT NOT NULL,
    generation         BIGINT NOT NULL,
    PRIMARY KEY (model_id, name)
);
CREATE INDEX environments_by_deployment ON environments (current_deployment);

-- No reference to deployments: a replica outlives its deployment's row until it has been stopped.
CREATE TABLE replicas (
    id             TEXT PRIMARY KEY,
    deployment_id  TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    stopping_since BIGINT,
    status         TEXT,
    seen_at        BIGINT,
    log_cursor     BIGINT NOT NULL
);
CREATE INDEX replicas_by_deployment ON replicas (deployment_id);

-- No reference to deployments: lines of deleted ones go when logs are next pruned.
CREATE TABLE logs (
    id            BIGSERIAL PRIMARY KEY,
    deployment_id TEXT NOT NULL,
    replica_id    TEXT,
    component     TEXT NOT NULL,
    timestamp_ns  BIGINT NOT NULL,
    level         BIGINT,
    request_id    TEXT,
    message       TEXT NOT NULL,
    bytes         BIGINT NOT NULL
);
CREATE INDEX logs_in_time ON logs (deployment_id, timestamp_ns, id);
CREATE INDEX logs_by_age ON logs (timestamp_ns, id, bytes);

CREATE TABLE audit_log (
    id             BIGSERIAL PRIMARY KEY,
    at             BIGINT NOT NULL,
    event_type     TEXT NOT NULL,
    event_data     TEXT NOT NULL,
    api_key_prefix TEXT,
    model_id       TEXT
);
CREATE INDEX audit_log_of_model ON audit_log (model_id, id);
