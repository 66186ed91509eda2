-- The schema after all migrations. Written by `./dev generate schema` from a migrated database; do not edit.

CREATE TABLE api_keys (
    id text NOT NULL,
    user_id uuid NOT NULL,
    key_hash bytea NOT NULL,
    pepper_id smallint NOT NULL,
    name character varying(100) NOT NULL,
    tier text NOT NULL,
    scopes text[] NOT NULL,
    env text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    created_by uuid,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    revoked_by uuid,
    revoke_reason text,
    replaces text,
    last_used timestamp with time zone
);

CREATE TABLE audit_head (
    one boolean NOT NULL DEFAULT true,
    seq bigint NOT NULL,
    hash bytea NOT NULL
);

CREATE TABLE audit_log (
    seq bigint NOT NULL,
    event_id uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    actor_type text NOT NULL,
    actor_id text,
    action character varying(64) NOT NULL,
    target_type text,
    target_id text,
    ip inet,
    request_id character varying(64),
    severity text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}'::jsonb,
    instance_id character varying(64) NOT NULL,
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL
);

CREATE TABLE idempotency_keys (
    principal text NOT NULL,
    method_route text NOT NULL,
    key character varying(255) NOT NULL,
    fingerprint bytea NOT NULL,
    status smallint,
    headers jsonb,
    body bytea,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE rate_limit_configs (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    identifier character varying(200) NOT NULL,
    requests_per_minute integer NOT NULL,
    burst_limit integer,
    mode text NOT NULL DEFAULT 'enforce'::text,
    reason text NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    expires_at timestamp with time zone
);

CREATE TABLE resources (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    name character varying(255) NOT NULL,
    type character varying(50) NOT NULL,
    content text NOT NULL DEFAULT ''::text,
    metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
    version integer NOT NULL DEFAULT 1,
    created_by uuid,
    updated_by uuid,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now()
);

CREATE TABLE schema_migrations (
    version integer NOT NULL,
    filename character varying(255) NOT NULL,
    checksum character(64) NOT NULL,
    applied_at timestamp with time zone NOT NULL DEFAULT now(),
    duration_ms integer NOT NULL
);

CREATE TABLE users (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    email character varying(254) NOT NULL,
    password_hash text,
    role text NOT NULL DEFAULT 'user'::text,
    tier text NOT NULL DEFAULT 'free'::text,
    must_change_password boolean NOT NULL DEFAULT false,
    disabled_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    last_login timestamp with time zone
);

ALTER TABLE api_keys ADD CONSTRAINT api_keys_env_check CHECK ((env = ANY (ARRAY['live'::text, 'test'::text])));

ALTER TABLE api_keys ADD CONSTRAINT api_keys_id_check CHECK ((id ~ '^[0-9a-hjkmnp-tv-z]{10}$'::text));

ALTER TABLE api_keys ADD CONSTRAINT api_keys_key_hash_check CHECK ((octet_length(key_hash) = 32));

ALTER TABLE api_keys ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE api_keys ADD CONSTRAINT api_keys_tier_check CHECK ((tier ~ '^[a-z][a-z0-9-]{0,31}$'::text));

ALTER TABLE audit_head ADD CONSTRAINT audit_head_hash_check CHECK ((octet_length(hash) = 32));

ALTER TABLE audit_head ADD CONSTRAINT audit_head_one_check CHECK (one);

ALTER TABLE audit_head ADD CONSTRAINT audit_head_pkey PRIMARY KEY (one);

ALTER TABLE audit_log ADD CONSTRAINT audit_log_actor_type_check CHECK ((actor_type = ANY (ARRAY['user'::text, 'key'::text, 'system'::text, 'anonymous'::text])));

ALTER TABLE audit_log ADD CONSTRAINT audit_log_details_check CHECK ((octet_length((details)::text) <= 8192));

ALTER TABLE audit_log ADD CONSTRAINT audit_log_event_id_key UNIQUE (event_id);

ALTER TABLE audit_log ADD CONSTRAINT audit_log_hash_check CHECK ((octet_length(hash) = 32));

ALTER TABLE audit_log ADD CONSTRAINT audit_log_pkey PRIMARY KEY (seq);

ALTER TABLE audit_log ADD CONSTRAINT audit_log_prev_hash_check CHECK ((octet_length(prev_hash) = 32));

ALTER TABLE audit_log ADD CONSTRAINT audit_log_severity_check CHECK ((severity = ANY (ARRAY['info'::text, 'notice'::text, 'security'::text])));

ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_fingerprint_check CHECK ((octet_length(fingerprint) = 32));

ALTER TABLE idempotency_keys ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (principal, method_route, key);

ALTER TABLE rate_limit_configs ADD CONSTRAINT rate_limit_configs_burst_limit_check CHECK ((burst_limit > 0));

ALTER TABLE rate_limit_configs ADD CONSTRAINT rate_limit_configs_identifier_check CHECK (((identifier)::text ~ '^(key|user|ip):'::text));

ALTER TABLE rate_limit_configs ADD CONSTRAINT rate_limit_configs_identifier_key UNIQUE (identifier);

ALTER TABLE rate_limit_configs ADD CONSTRAINT rate_limit_configs_mode_check CHECK ((mode = ANY (ARRAY['enforce'::text, 'shadow'::text])));

ALTER TABLE rate_limit_configs ADD CONSTRAINT rate_limit_configs_pkey PRIMARY KEY (id);

ALTER TABLE rate_limit_configs ADD CONSTRAINT rate_limit_configs_requests_per_minute_check CHECK ((requests_per_minute >= 0));

ALTER TABLE resources ADD CONSTRAINT resources_pkey PRIMARY KEY (id);

ALTER TABLE resources ADD CONSTRAINT resources_type_check CHECK (((type)::text ~ '^[a-z][a-z0-9-]*$'::text));

ALTER TABLE schema_migrations ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE users ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE users ADD CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['user'::text, 'viewer'::text, 'admin'::text])));

ALTER TABLE users ADD CONSTRAINT users_tier_check CHECK ((tier ~ '^[a-z][a-z0-9-]{0,31}$'::text));

ALTER TABLE api_keys ADD CONSTRAINT api_keys_replaces_fkey FOREIGN KEY (replaces) REFERENCES api_keys(id) ON DELETE SET NULL;

ALTER TABLE api_keys ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users(id) ON DELETE CASCADE;

ALTER TABLE rate_limit_configs ADD CONSTRAINT rate_limit_configs_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id);

ALTER TABLE resources ADD CONSTRAINT resources_created_by_fkey FOREIGN KEY (created_by) REFERENCES users(id) ON DELETE SET NULL;

ALTER TABLE resources ADD CONSTRAINT resources_updated_by_fkey FOREIGN KEY (updated_by) REFERENCES users(id) ON DELETE SET NULL;

CREATE INDEX api_keys_expires_at_idx ON public.api_keys USING btree (expires_at) WHERE (revoked_at IS NULL);

CREATE INDEX api_keys_replaces_idx ON public.api_keys USING btree (replaces) WHERE (replaces IS NOT NULL);

CREATE INDEX api_keys_user_id_idx ON public.api_keys USING btree (user_id);

CREATE INDEX audit_log_action_idx ON public.audit_log USING btree (action, seq DESC);

CREATE INDEX audit_log_actor_id_idx ON public.audit_log USING btree (actor_id, seq DESC);

CREATE INDEX audit_log_at_idx ON public.audit_log USING btree (at);

CREATE INDEX audit_log_login_failed_idx ON public.audit_log USING btree (host(ip), at) WHERE ((action)::text = 'user.login_failed'::text);

CREATE INDEX audit_log_target_id_idx ON public.audit_log USING btree (target_id, seq DESC);

CREATE INDEX idempotency_keys_expires_at_idx ON public.idempotency_keys USING btree (expires_at);

CREATE INDEX rate_limit_configs_expires_at_idx ON public.rate_limit_configs USING btree (expires_at) WHERE (expires_at IS NOT NULL);

CREATE INDEX resources_created_at_idx ON public.resources USING btree (created_at);

CREATE INDEX resources_type_idx ON public.resources USING btree (type, id DESC);

CREATE UNIQUE INDEX users_email_key ON public.users USING btree (lower((email)::text));

CREATE INDEX users_role_idx ON public.users USING btree (role) WHERE (role <> 'user'::text);

CREATE OR REPLACE FUNCTION public.audit_append(p_event_id uuid, p_actor_type text, p_actor_id text, p_action text, p_target_type text, p_target_id text, p_ip inet, p_request_id text, p_severity text, p_details jsonb, p_instance_id text)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.audit_append_only()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    RAISE EXCEPTION 'audit_log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$function$;

CREATE OR REPLACE FUNCTION public.audit_hash(entry audit_log)
 RETURNS bytea
 LANGUAGE sql
 STABLE
 SET "TimeZone" TO 'UTC'
 SET bytea_output TO 'hex'
AS $function$
    SELECT sha256(entry.prev_hash || convert_to(jsonb_build_object(
        'seq', entry.seq, 'event_id', entry.event_id, 'at', entry.at, 'actor_type', entry.actor_type, 'actor_id', entry.actor_id,
        'action', entry.action, 'target_type', entry.target_type, 'target_id', entry.target_id, 'ip', entry.ip,
        'request_id', entry.request_id, 'severity', entry.severity, 'details', entry.details, 'instance_id', entry.instance_id,
        'prev_hash', entry.prev_hash)::text, 'UTF8'))
$function$;

CREATE OR REPLACE FUNCTION public.bump_version()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END
$function$;

CREATE OR REPLACE FUNCTION public.notify_identity()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.set_updated_at()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$function$;

CREATE VIEW gateway_keys AS
 SELECT k.id,
    k.key_hash,
    k.pepper_id,
    k.user_id,
    k.tier,
    k.scopes,
    u.role,
    k.expires_at,
    k.revoked_at,
    u.disabled_at
   FROM (api_keys k
     JOIN users u ON ((u.id = k.user_id)));

CREATE VIEW gateway_overrides AS
 SELECT id,
    identifier,
    requests_per_minute,
    burst_limit,
    mode,
    expires_at
   FROM rate_limit_configs
  WHERE ((expires_at IS NULL) OR (expires_at > now()));

CREATE TRIGGER api_keys_notify AFTER INSERT OR DELETE OR UPDATE OF user_id, key_hash, pepper_id, tier, scopes, expires_at, revoked_at ON public.api_keys FOR EACH ROW EXECUTE FUNCTION notify_identity();

CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE ON public.audit_log FOR EACH ROW EXECUTE FUNCTION audit_append_only();

CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON public.audit_log FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();

CREATE TRIGGER rate_limit_configs_notify AFTER INSERT OR DELETE OR UPDATE ON public.rate_limit_configs FOR EACH ROW EXECUTE FUNCTION notify_identity();

CREATE TRIGGER rate_limit_configs_updated_at BEFORE UPDATE ON public.rate_limit_configs FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER resources_updated_at BEFORE UPDATE ON public.resources FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TRIGGER resources_version BEFORE UPDATE ON public.resources FOR EACH ROW EXECUTE FUNCTION bump_version();

CREATE TRIGGER users_notify AFTER DELETE OR UPDATE OF email, role, tier, disabled_at ON public.users FOR EACH ROW EXECUTE FUNCTION notify_identity();

CREATE TRIGGER users_updated_at BEFORE UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION set_updated_at();
