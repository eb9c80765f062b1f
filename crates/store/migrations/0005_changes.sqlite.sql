-- What has changed, in the order of the commits, so that whoever keeps a copy in memory reads only that. Rows are written by triggers:
-- no writer can forget one. How far a replica's log has been read is no change.

CREATE TABLE changes (
    seq  BIGSERIAL PRIMARY KEY,
    kind TEXT NOT NULL,
    id   TEXT NOT NULL
);

CREATE TRIGGER models_insert_is_a_change AFTER INSERT ON models BEGIN
    INSERT INTO changes (kind, id) VALUES ('model', NEW.id);
END;
CREATE TRIGGER models_update_is_a_change AFTER UPDATE ON models BEGIN
    INSERT INTO changes (kind, id) VALUES ('model', NEW.id);
END;
CREATE TRIGGER models_delete_is_a_change AFTER DELETE ON models BEGIN
    INSERT INTO changes (kind, id) VALUES ('model', OLD.id);
END;

CREATE TRIGGER deployments_insert_is_a_change AFTER INSERT ON deployments BEGIN
    INSERT INTO changes (kind, id) VALUES ('deployment', NEW.id);
END;
CREATE TRIGGER deployments_update_is_a_change AFTER UPDATE ON deployments BEGIN
    INSERT INTO changes (kind, id) VALUES ('deployment', NEW.id);
END;
CREATE TRIGGER deployments_delete_is_a_change AFTER DELETE ON deployments BEGIN
    INSERT INTO changes (kind, id) VALUES ('deployment', OLD.id);
END;

CREATE TRIGGER environments_insert_is_a_change AFTER INSERT ON environments BEGIN
    INSERT INTO changes (kind, id) VALUES ('environment', NEW.model_id || '/' || NEW.name);
END;
CREATE TRIGGER environments_update_is_a_change AFTER UPDATE ON environments BEGIN
    INSERT INTO changes (kind, id) VALUES ('environment', NEW.model_id || '/' || NEW.name);
END;
CREATE TRIGGER environments_delete_is_a_change AFTER DELETE ON environments BEGIN
    INSERT INTO changes (kind, id) VALUES ('environment', OLD.model_id || '/' || OLD.name);
END;

CREATE TRIGGER replicas_insert_is_a_change AFTER INSERT ON replicas BEGIN
    INSERT INTO changes (kind, id) VALUES ('replica', NEW.id);
END;
CREATE TRIGGER replicas_update_is_a_change AFTER UPDATE OF stopping_since, status, seen_at, environment ON replicas BEGIN
    INSERT INTO changes (kind, id) VALUES ('replica', NEW.id);
END;
CREATE TRIGGER replicas_delete_is_a_change AFTER DELETE ON replicas BEGIN
    INSERT INTO changes (kind, id) VALUES ('replica', OLD.id);
END;

CREATE TRIGGER promotions_insert_is_a_change AFTER INSERT ON promotions BEGIN
    INSERT INTO changes (kind, id) VALUES ('promotion', CAST(NEW.id AS TEXT));
END;
CREATE TRIGGER promotions_update_is_a_change AFTER UPDATE ON promotions BEGIN
    INSERT INTO changes (kind, id) VALUES ('promotion', CAST(NEW.id AS TEXT));
END;
CREATE TRIGGER promotions_delete_is_a_change AFTER DELETE ON promotions BEGIN
    INSERT INTO changes (kind, id) VALUES ('promotion', CAST(OLD.id AS TEXT));
END;

CREATE TRIGGER api_keys_insert_is_a_change AFTER INSERT ON api_keys BEGIN
    INSERT INTO changes (kind, id) VALUES ('key', NEW.prefix);
END;
CREATE TRIGGER api_keys_update_is_a_change AFTER UPDATE ON api_keys BEGIN
    INSERT INTO changes (kind, id) VALUES ('key', NEW.prefix);
END;
CREATE TRIGGER api_keys_delete_is_a_change AFTER DELETE ON api_keys BEGIN
    INSERT INTO changes (kind, id) VALUES ('key', OLD.prefix);
END;
