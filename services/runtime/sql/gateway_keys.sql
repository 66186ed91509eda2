-- API keys by their public ids. Seconds left instead of a time: no process's wall clock decides an expiry.
SELECT id, key_hash, pepper_id, user_id::text AS user_id, tier, scopes, role,
       extract(epoch FROM expires_at - now())::float8 AS seconds_left,
       revoked_at IS NOT NULL AS revoked,
       disabled_at IS NOT NULL AS disabled
FROM gateway_keys
WHERE id = ANY($1)
