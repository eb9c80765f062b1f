-- Why each deployment has as many replicas as it has: each change of their number, with what was looked at.

CREATE TABLE scaling_decisions (
    id            BIGSERIAL PRIMARY KEY,
    deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    at            BIGINT NOT NULL,
    replicas      BIGINT NOT NULL,
    why           TEXT NOT NULL,
    inputs        TEXT NOT NULL
);
CREATE INDEX scaling_decisions_of_deployment ON scaling_decisions (deployment_id, id);
