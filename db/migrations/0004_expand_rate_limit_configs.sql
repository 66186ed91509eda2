CREATE TABLE rate_limit_configs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    identifier varchar(200) NOT NULL UNIQUE CHECK (identifier ~ '^(key|user|ip):'),
    requests_per_minute int NOT NULL CHECK (requests_per_minute >= 0),
    burst_limit int CHECK (burst_limit > 0),
    mode text NOT NULL DEFAULT 'enforce' CHECK (mode IN ('enforce', 'shadow')),
    reason text NOT NULL,
    created_by uuid NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
CREATE INDEX rate_limit_configs_expires_at_idx ON rate_limit_configs (expires_at) WHERE expires_at IS NOT NULL;

CREATE TRIGGER rate_limit_configs_updated_at BEFORE UPDATE ON rate_limit_configs
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
