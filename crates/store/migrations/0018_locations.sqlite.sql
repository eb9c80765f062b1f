-- Where replicas run, how locations answer, and policies in the journal of changes: tasks decide by them.

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

CREATE TRIGGER policies_insert_is_a_change AFTER INSERT ON policies BEGIN
    INSERT INTO changes (kind, id) VALUES ('policy', NEW.name);
END;
CREATE TRIGGER policies_update_is_a_change AFTER UPDATE ON policies BEGIN
    INSERT INTO changes (kind, id) VALUES ('policy', NEW.name);
END;
CREATE TRIGGER policies_delete_is_a_change AFTER DELETE ON policies BEGIN
    INSERT INTO changes (kind, id) VALUES ('policy', OLD.name);
END;

CREATE TRIGGER environment_policies_insert_is_a_change AFTER INSERT ON environment_policies BEGIN
    INSERT INTO changes (kind, id) VALUES ('environment_policies', NEW.model_id || '/' || NEW.environment);
END;
CREATE TRIGGER environment_policies_delete_is_a_change AFTER DELETE ON environment_policies BEGIN
    INSERT INTO changes (kind, id) VALUES ('environment_policies', OLD.model_id || '/' || OLD.environment);
END;

CREATE TRIGGER deployment_policies_insert_is_a_change AFTER INSERT ON deployment_policies BEGIN
    INSERT INTO changes (kind, id) VALUES ('deployment_policies', NEW.deployment_id);
END;
CREATE TRIGGER deployment_policies_delete_is_a_change AFTER DELETE ON deployment_policies BEGIN
    INSERT INTO changes (kind, id) VALUES ('deployment_policies', OLD.deployment_id);
END;
