-- How deployments take over environments, and what each replica was last told of its environment.

-- No reference to environments or deployments: the history outlives both.
CREATE TABLE promotions (
    id           BIGSERIAL PRIMARY KEY,
    model_id     TEXT NOT NULL REFERENCES models (id),
    environment  TEXT NOT NULL,
    candidate    TEXT NOT NULL,
    previous     TEXT,
    origin       TEXT NOT NULL,
    started_at   BIGINT NOT NULL,
    ended_at     BIGINT,
    settings     TEXT NOT NULL,
    state        TEXT NOT NULL,
    targets      TEXT NOT NULL,
    why          TEXT NOT NULL,
    command      TEXT,
    requested_by TEXT,
    generation   BIGINT NOT NULL
);
CREATE INDEX promotions_of_environment ON promotions (model_id, environment, id);
CREATE UNIQUE INDEX one_active_promotion_each_environment ON promotions (model_id, environment) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX one_active_promotion_each_candidate ON promotions (candidate) WHERE ended_at IS NULL;

ALTER TABLE replicas ADD COLUMN environment TEXT;
