-- Where replicas run, and how locations answer.

ALTER TABLE replicas ADD COLUMN location TEXT;

CREATE TABLE locations (
    name        TEXT PRIMARY KEY,
    ill_since   BIGINT,
    ill_because TEXT
);

DROP TRIGGER replicas_update_is_a_change;
CREATE TRIGGER replicas_update_is_a_change
    AFTER UPDATE OF stopping_since, status, seen_at, environment, instance_type, waits_for, tries_patch, location ON replicas BEGIN
    INSERT INTO changes (kind, id) VALUES ('replica', NEW.id);
END;
