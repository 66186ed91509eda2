-- All that the gateway's role may read.
CREATE VIEW gateway_keys AS
    SELECT k.id, k.key_hash, k.pepper_id, k.user_id, k.tier, k.scopes, u.role, k.expires_at, k.revoked_at, u.disabled_at
    FROM api_keys k JOIN users u ON u.id = k.user_id;

CREATE VIEW gateway_overrides AS
    SELECT id, identifier, requests_per_minute, burst_limit, mode, expires_at
    FROM rate_limit_configs
    WHERE expires_at IS NULL OR expires_at > now();
