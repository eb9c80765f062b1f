-- What has changed, in the order of the commits, so that whoever keeps a copy in memory reads only that. Rows are written by triggers:
-- no writer can forget one. How far a replica's log has been read is no change.

CREATE TABLE changes (
    seq  BIGSERIAL PRIMARY KEY,
    kind TEXT NOT NULL,
    id   TEXT NOT NULL
);

CREATE FUNCTION note_change() RETURNS trigger AS $$
DECLARE
    row RECORD;
    id TEXT;
BEGIN
    IF TG_OP = 'DELETE' THEN row := OLD; ELSE row := NEW; END IF;
    IF TG_TABLE_NAME = 'environments' THEN id := row.model_id || '/' || row.name;
    ELSIF TG_TABLE_NAME = 'api_keys' THEN id := row.prefix;
    ELSE id := row.id;
    END IF;
    INSERT INTO changes (kind, id) VALUES (TG_ARGV[0], id);
    RETURN NULL;
END;
$$ LANGUAGE plpgsql;

CREATE TRIGGER models_change AFTER INSERT OR UPDATE OR DELETE ON models
    FOR EACH ROW EXECUTE FUNCTION note_change('model');
CREATE TRIGGER deployments_change AFTER INSERT OR UPDATE OR DELETE ON deployments
    FOR EACH ROW EXECUTE FUNCTION note_change('deployment');
CREATE TRIGGER environments_change AFTER INSERT OR UPDATE OR DELETE ON environments
    FOR EACH ROW EXECUTE FUNCTION note_change('environment');
CREATE TRIGGER replicas_change AFTER INSERT OR UPDATE OF stopping_since, status, seen_at, environment OR DELETE ON replicas
    FOR EACH ROW EXECUTE FUNCTION note_change('replica');
CREATE TRIGGER promotions_change AFTER INSERT OR UPDATE OR DELETE ON promotions
    FOR EACH ROW EXECUTE FUNCTION note_change('promotion');
CREATE TRIGGER api_keys_change AFTER INSERT OR UPDATE OR DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION note_change('key');
