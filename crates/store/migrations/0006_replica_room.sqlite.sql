-- What a replica uses of the machines, which outlives its deployment, and what an order waits for.

ALTER TABLE replicas ADD COLUMN instance_type TEXT NOT NULL DEFAULT '';
ALTER TABLE replicas ADD COLUMN waits_for TEXT;

DROP TRIGGER replicas_update_is_a_change;
CREATE TRIGGER replicas_update_is_a_change AFTER UPDATE OF stopping_since, status, seen_at, environment, instance_type, waits_for
    ON replicas BEGIN
    INSERT INTO changes (kind, id) VALUES ('replica', NEW.id);
END;

UPDATE replicas SET instance_type = COALESCE((SELECT d.instance_type FROM deployments d WHERE d.id = replicas.deployment_id), '');
