-- Where things may run, and what that is attached to.

CREATE TABLE policies (
    name       TEXT PRIMARY KEY,
    policy     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE environment_policies (
    model_id    TEXT NOT NULL,
    environment TEXT NOT NULL,
    policy      TEXT NOT NULL REFERENCES policies (name) ON DELETE CASCADE,
    place       BIGINT NOT NULL,
    PRIMARY KEY (model_id, environment, policy),
    FOREIGN KEY (model_id, environment) REFERENCES environments (model_id, name) ON DELETE CASCADE
);
CREATE INDEX environment_policies_by_policy ON environment_policies (policy);

CREATE TABLE deployment_policies (
    deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    policy        TEXT NOT NULL REFERENCES policies (name) ON DELETE CASCADE,
    place         BIGINT NOT NULL,
    PRIMARY KEY (deployment_id, policy)
);
CREATE INDEX deployment_policies_by_policy ON deployment_policies (policy);
