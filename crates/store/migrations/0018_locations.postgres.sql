-- Where replicas run, and how locations answer.

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
