CREATE TABLE api_keys (
    id text PRIMARY KEY CHECK (id ~ '^[0-9a-hjkmnp-tv-z]{10}$'),
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key_hash bytea NOT NULL CHECK (octet_length(key_hash) = 32),
    pepper_id smallint NOT NULL,
    name varchar(100) NOT NULL,
    tier text NOT NULL CHECK (tier ~ '^[a-z][a-z0-9-]{0,31}$'),
    scopes text[] NOT NULL,
    env text NOT NULL CHECK (env IN ('live', 'test')),
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid,
    expires_at timestamptz,
    revoked_at timestamptz,
    revoked_by uuid,
    revoke_reason text,
    replaces text REFERENCES api_keys (id) ON DELETE SET NULL,
    last_used timestamptz
);
CREATE INDEX api_keys_user_id_idx ON api_keys (user_id);
CREATE INDEX api_keys_expires_at_idx ON api_keys (expires_at) WHERE revoked_at IS NULL;
-- a rotated key is found by its successor
CREATE INDEX api_keys_replaces_idx ON api_keys (replaces) WHERE replaces IS NOT NULL;
