-- What was counted and measured: of each deployment in all, of each span of time, and of each day for whoever pays.

CREATE TABLE totals (
    deployment_id TEXT PRIMARY KEY REFERENCES deployments (id) ON DELETE CASCADE,
    at            BIGINT NOT NULL,
    measures      TEXT NOT NULL,
    standing      TEXT NOT NULL,
    -- How long starts and builds took.
    durations     TEXT NOT NULL,
    restarts      BIGINT NOT NULL,
    -- How many of the restarts are in samples.
    sampled       BIGINT NOT NULL
);

CREATE TABLE samples (
    id            BIGSERIAL PRIMARY KEY,
    deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    environment   TEXT,
    since         BIGINT NOT NULL,
    until         BIGINT NOT NULL,
    measures      TEXT NOT NULL,
    standing      TEXT NOT NULL,
    restarts      BIGINT NOT NULL
);
CREATE INDEX samples_of_deployment ON samples (deployment_id, until);
CREATE INDEX samples_by_age ON samples (until);

-- Outlives what it is of, so names stand here too.
CREATE TABLE usage_days (
    day             BIGINT NOT NULL,
    deployment_id   TEXT NOT NULL,
    environment     TEXT NOT NULL,
    deployment_name TEXT NOT NULL,
    model_id        TEXT NOT NULL,
    model_name      TEXT NOT NULL,
    team_id         TEXT NOT NULL,
    instance_type   TEXT NOT NULL,
    replica_ms      BIGINT NOT NULL,
    requests        BIGINT NOT NULL,
    PRIMARY KEY (day, deployment_id, environment)
);
