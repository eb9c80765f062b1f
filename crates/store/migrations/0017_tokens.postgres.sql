-- How many tokens requests have taken: for whoever pays, and within the windows of limits. Tasks see the policies that set them.

ALTER TABLE usage_days ADD COLUMN input_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_days ADD COLUMN output_tokens BIGINT NOT NULL DEFAULT 0;

-- What each gateway has counted in the newest window of each length.
CREATE TABLE token_windows (
    -- A deployment, or MODEL/ENVIRONMENT.
    metered     TEXT NOT NULL,
    granularity TEXT NOT NULL,
    step        BIGINT NOT NULL,
    gateway     TEXT NOT NULL,
    began_at    BIGINT NOT NULL,
    ends_at     BIGINT NOT NULL,
    input       BIGINT NOT NULL,
    output      BIGINT NOT NULL,
    PRIMARY KEY (metered, granularity, step, gateway)
);

CREATE OR REPLACE FUNCTION note_policy_change() RETURNS trigger AS $$
DECLARE
    row RECORD;
BEGIN
    IF TG_OP = 'DELETE' THEN row := OLD; ELSE row := NEW; END IF;
    IF TG_TABLE_NAME = 'policies' THEN INSERT INTO changes (kind, id) VALUES ('policy', row.name);
    ELSIF TG_TABLE_NAME = 'environment_policies' THEN
        INSERT INTO changes (kind, id) VALUES ('attached', row.model_id || '/' || row.environment);
    ELSE INSERT INTO changes (kind, id) VALUES ('attached', row.deployment_id);
    END IF;
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER policies_change AFTER INSERT OR UPDATE OR DELETE ON policies
    FOR EACH ROW EXECUTE FUNCTION note_policy_change();
CREATE TRIGGER environment_policies_change AFTER INSERT OR DELETE ON environment_policies
    FOR EACH ROW EXECUTE FUNCTION note_policy_change();
CREATE TRIGGER deployment_policies_change AFTER INSERT OR DELETE ON deployment_policies
    FOR EACH ROW EXECUTE FUNCTION note_policy_change();
