-- Where replicas run, how locations answer, and policies in the journal of changes: tasks decide by them.

ALTER TABLE replicas ADD COLUMN location TEXT;

CREATE TABLE locations (
    name        TEXT PRIMARY KEY,
    ill_since   BIGINT,
    ill_because TEXT
);

DROP TRIGGER replicas_change ON replicas;
CREATE TRIGGER replicas_change
    AFTER INSERT OR UPDATE OF stopping_since, status, seen_at, environment, instance_type, waits_for, tries_patch, location OR DELETE
    ON replicas FOR EACH ROW EXECUTE FUNCTION note_change('replica');

CREATE FUNCTION note_policy_change() RETURNS trigger AS $$
DECLARE
    row RECORD;
    id TEXT;
BEGIN
    IF TG_OP = 'DELETE' THEN row := OLD; ELSE row := NEW; END IF;
    IF TG_TABLE_NAME = 'environment_policies' THEN id := row.model_id || '/' || row.environment;
    ELSIF TG_TABLE_NAME = 'deployment_policies' THEN id := row.deployment_id;
    ELSE id := row.name;
    END IF;
    INSERT INTO changes (kind, id) VALUES (TG_ARGV[0], id);
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER policies_change AFTER INSERT OR UPDATE OR DELETE ON policies
    FOR EACH ROW EXECUTE FUNCTION note_policy_change('policy');
CREATE TRIGGER environment_policies_change AFTER INSERT OR DELETE ON environment_policies
    FOR EACH ROW EXECUTE FUNCTION note_policy_change('environment_policies');
CREATE TRIGGER deployment_policies_change AFTER INSERT OR DELETE ON deployment_policies
    FOR EACH ROW EXECUTE FUNCTION note_policy_change('deployment_policies');
