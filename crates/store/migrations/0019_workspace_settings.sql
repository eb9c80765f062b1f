-- What holds for the whole workspace: one row, there from the start.

CREATE TABLE workspace_settings (
    singleton            BIGINT PRIMARY KEY CHECK (singleton = 1),
    default_environment  TEXT,
    initial_environments TEXT NOT NULL,
    generation           BIGINT NOT NULL
);
INSERT INTO workspace_settings (singleton, default_environment, initial_environments, generation) VALUES (1, NULL, '[]', 1);
