-- Whether a push leaves running what its environment served before it.

ALTER TABLE deployments ADD COLUMN keep_previous INTEGER NOT NULL DEFAULT 0;
