-- Who may change the environments of a name, in all models of a team. A name without a row is open to all.

CREATE TABLE environment_groups (
    team_id       TEXT NOT NULL REFERENCES teams (id),
    name          TEXT NOT NULL,
    is_restricted BIGINT NOT NULL,
    user_ids      TEXT NOT NULL,
    PRIMARY KEY (team_id, name)
);
