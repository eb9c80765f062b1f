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
    INSERT INTO changes (kind, id) VALUES ('attached', NEW.model_id || '/' || NEW.environment);
END;
CREATE TRIGGER environment_policies_delete_is_a_change AFTER DELETE ON environment_policies BEGIN
    INSERT INTO changes (kind, id) VALUES ('attached', OLD.model_id || '/' || OLD.environment);
END;

CREATE TRIGGER deployment_policies_insert_is_a_change AFTER INSERT ON deployment_policies BEGIN
    INSERT INTO changes (kind, id) VALUES ('attached', NEW.deployment_id);
END;
CREATE TRIGGER deployment_policies_delete_is_a_change AFTER DELETE ON deployment_policies BEGIN
    INSERT INTO changes (kind, id) VALUES ('attached', OLD.deployment_id);
END;
