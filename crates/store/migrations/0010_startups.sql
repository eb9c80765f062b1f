-- How each start of a replica went: the newest of each deployment.

CREATE TABLE startups (
    id            BIGSERIAL PRIMARY KEY,
    replica_id    TEXT NOT NULL UNIQUE,
    deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    environment   TEXT,
    started_at    BIGINT NOT NULL,
    ended_at      BIGINT NOT NULL,
    outcome       TEXT NOT NULL,
    times         TEXT NOT NULL
);
CREATE INDEX startups_of_deployment ON startups (deployment_id, id);
