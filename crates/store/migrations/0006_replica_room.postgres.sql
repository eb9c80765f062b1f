-- What a replica uses of the machines, which outlives its deployment, and what an order waits for.

ALTER TABLE replicas ADD COLUMN instance_type TEXT NOT NULL DEFAULT '';
ALTER TABLE replicas ADD COLUMN waits_for TEXT;

DROP TRIGGER replicas_change ON replicas;
CREATE TRIGGER replicas_change
    AFTER INSERT OR UPDATE OF stopping_since, status, seen_at, environment, instance_type, waits_for OR DELETE ON replicas
    FOR EACH ROW EXECUTE FUNCTION note_change('replica');

UPDATE replicas SET instance_type = COALESCE((SELECT d.instance_type FROM deployments d WHERE d.id = replicas.deployment_id), '');
