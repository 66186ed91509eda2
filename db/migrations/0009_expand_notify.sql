-- What an api relays to the gateways, so that a change made by hand travels too. Only columns that decide who may do what.
CREATE FUNCTION notify_identity() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    -- as jsonb: the three tables name their columns differently
    subject jsonb := to_jsonb(coalesce(NEW, OLD));
BEGIN
    PERFORM pg_notify('inv', CASE TG_TABLE_NAME
        WHEN 'users' THEN 'user:' || (subject ->> 'id')
        WHEN 'api_keys' THEN 'key:' || (subject ->> 'id')
        ELSE 'override:' || (subject ->> 'identifier')
    END);
    RETURN NULL;
END
$$;

CREATE TRIGGER users_notify AFTER UPDATE OF email, role, tier, disabled_at OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION notify_identity();
CREATE TRIGGER api_keys_notify
    AFTER INSERT OR DELETE OR UPDATE OF user_id, key_hash, pepper_id, tier, scopes, expires_at, revoked_at ON api_keys
    FOR EACH ROW EXECUTE FUNCTION notify_identity();
CREATE TRIGGER rate_limit_configs_notify AFTER INSERT OR UPDATE OR DELETE ON rate_limit_configs
    FOR EACH ROW EXECUTE FUNCTION notify_identity();
