-- What has been patched into development deployments, and the replicas in which patches are tried.

ALTER TABLE deployments ADD COLUMN patches TEXT;
ALTER TABLE replicas ADD COLUMN tries_patch INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER replicas_update_is_a_change;
CREATE TRIGGER replicas_update_is_a_change
    AFTER UPDATE OF stopping_since, status, seen_at, environment, instance_type, waits_for, tries_patch ON replicas BEGIN
    INSERT INTO changes (kind, id) VALUES ('replica', NEW.id);
END;
