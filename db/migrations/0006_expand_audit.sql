-- A hash chain without gaps: each row's hash covers the row and the hash before it; rows are added by audit_append alone, never changed.
CREATE TABLE audit_log (
    seq bigint PRIMARY KEY,
    event_id uuid NOT NULL UNIQUE,
    at timestamptz NOT NULL,
    actor_type text NOT NULL CHECK (actor_type IN ('user', 'key', 'system', 'anonymous')),
    actor_id text,
    action varchar(64) NOT NULL,
    target_type text,
    target_id text,
    ip inet,
    request_id varchar(64),
    severity text NOT NULL CHECK (severity IN ('info', 'notice', 'security')),
    details jsonb NOT NULL DEFAULT '{}' CHECK (octet_length(details::text) <= 8192),
    instance_id varchar(64) NOT NULL,
    prev_hash bytea NOT NULL CHECK (octet_length(prev_hash) = 32),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32)
);
CREATE INDEX audit_log_at_idx ON audit_log (at);
CREATE INDEX audit_log_action_idx ON audit_log (action, seq DESC);
CREATE INDEX audit_log_actor_id_idx ON audit_log (actor_id, seq DESC);
CREATE INDEX audit_log_target_id_idx ON audit_log (target_id, seq DESC);
CREATE INDEX audit_log_login_failed_idx ON audit_log (host(ip), at) WHERE action = 'user.login_failed';

CREATE TABLE audit_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq bigint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32)
);
INSERT INTO audit_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'));

-- members by name: a column added later does not change the hash of a row written before it. Time zone and bytea form are pinned, for jsonb has texts.
CREATE FUNCTION audit_hash(entry audit_log) RETURNS bytea
    LANGUAGE sql STABLE SET timezone = 'UTC' SET bytea_output = 'hex' AS $$
    SELECT sha256(entry.prev_hash || convert_to(jsonb_build_object(
        'seq', entry.seq, 'event_id', entry.event_id, 'at', entry.at, 'actor_type', entry.actor_type, 'actor_id', entry.actor_id,
        'action', entry.action, 'target_type', entry.target_type, 'target_id', entry.target_id, 'ip', entry.ip,
        'request_id', entry.request_id, 'severity', entry.severity, 'details', entry.details, 'instance_id', entry.instance_id,
        'prev_hash', entry.prev_hash)::text, 'UTF8'))
$$;

CREATE FUNCTION audit_append(
    p_event_id uuid, p_actor_type text, p_actor_id text, p_action text, p_target_type text, p_target_id text, p_ip inet,
    p_request_id text, p_severity text, p_details jsonb, p_instance_id text
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    head audit_head%ROWTYPE;
    entry audit_log%ROWTYPE;
BEGIN
    SELECT * INTO STRICT head FROM audit_head FOR UPDATE;
    SELECT * INTO entry FROM audit_log WHERE event_id = p_event_id;
    IF FOUND THEN
        RETURN entry.seq;
    END IF;
    entry.seq := head.seq + 1;
    entry.event_id := p_event_id;
    entry.at := clock_timestamp();
    entry.actor_type := p_actor_type;
    entry.actor_id := p_actor_id;
    entry.action := p_action;
    entry.target_type := p_target_type;
    entry.target_id := p_target_id;
    entry.ip := p_ip;
    entry.request_id := p_request_id;
    entry.severity := p_severity;
    entry.details := coalesce(p_details, '{}');
    entry.instance_id := p_instance_id;
    entry.prev_hash := head.hash;
    entry.hash := audit_hash(entry);
    INSERT INTO audit_log VALUES (entry.*);
    UPDATE audit_head SET seq = entry.seq, hash = entry.hash;
    RETURN entry.seq;
END
$$;

CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_append_only();
CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();
REVOKE ALL ON FUNCTION audit_append(uuid, text, text, text, text, text, inet, text, text, jsonb, text) FROM PUBLIC;
