-- What has been patched into development deployments, and the replicas in which patches are tried.

ALTER TABLE deployments ADD COLUMN patches TEXT;
ALTER TABLE replicas ADD COLUMN tries_patch INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER replicas_change ON replicas;
CREATE TRIGGER replicas_change
    AFTER INSERT OR UPDATE OF stopping_since, status, seen_at, environment, instance_type, waits_for, tries_patch OR DELETE ON replicas
    FOR EACH ROW EXECUTE FUNCTION note_change('replica');
