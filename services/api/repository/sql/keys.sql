-- name: one
SELECT k.id, k.user_id::text, k.name, k.tier, k.scopes, k.env, k.created_at, k.expires_at, k.revoked_at, k.replaces, k.last_used,
    EXISTS (SELECT FROM api_keys s WHERE s.replaces = k.id) AS rotated,
    o.requests_per_minute, o.burst_limit, o.mode, o.expires_at AS override_expires_at, now() AS now
FROM api_keys k LEFT JOIN gateway_overrides o ON o.identifier = 'key:' || k.id
WHERE k.id = $1 AND ($2::uuid IS NULL OR k.user_id = $2::uuid);

-- name: page
SELECT * FROM (
    SELECT k.id, k.user_id::text, k.name, k.tier, k.scopes, k.env, k.created_at, k.expires_at, k.revoked_at, k.replaces, k.last_used,
        EXISTS (SELECT FROM api_keys s WHERE s.replaces = k.id) AS rotated,
        o.requests_per_minute, o.burst_limit, o.mode, o.expires_at AS override_expires_at, now() AS now
    FROM api_keys k LEFT JOIN gateway_overrides o ON o.identifier = 'key:' || k.id
    WHERE ($1::uuid IS NULL OR k.user_id = $1::uuid)
        AND ($2::text IS NULL OR k.tier = $2)
        AND ($3::text IS NULL OR k.name ILIKE $3 OR k.id = $4)
) AS found
WHERE $5::text IS NULL OR $5 = CASE
    WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' WHEN rotated THEN 'expiring' ELSE 'active' END
ORDER BY created_at DESC, id DESC
LIMIT $6 OFFSET $7;

-- name: count
SELECT count(*) FROM (
    SELECT k.revoked_at, k.expires_at, EXISTS (SELECT FROM api_keys s WHERE s.replaces = k.id) AS rotated
    FROM api_keys k
    WHERE ($1::uuid IS NULL OR k.user_id = $1::uuid)
        AND ($2::text IS NULL OR k.tier = $2)
        AND ($3::text IS NULL OR k.name ILIKE $3 OR k.id = $4)
) AS found
WHERE $5::text IS NULL OR $5 = CASE
    WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= now() THEN 'expired' WHEN rotated THEN 'expiring' ELSE 'active' END;

-- name: count_active
SELECT count(*) FROM api_keys k
WHERE k.user_id = $1::uuid AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
    AND NOT EXISTS (SELECT FROM api_keys s WHERE s.replaces = k.id);

-- name: insert
INSERT INTO api_keys (id, user_id, key_hash, pepper_id, name, tier, scopes, env, created_by, expires_at, replaces)
VALUES ($1, $2::uuid, $3, $4, $5, $6, $7, $8, $9::uuid, now() + $10::interval, $11);

-- name: lock
SELECT id, user_id::text, revoked_at IS NOT NULL AS revoked, coalesce(expires_at <= now(), false) AS expired,
    EXISTS (SELECT FROM api_keys s WHERE s.replaces = k.id) AS rotated, name, tier, scopes, env, expires_at - created_at AS life
FROM api_keys k WHERE id = $1 AND ($2::uuid IS NULL OR user_id = $2::uuid) FOR UPDATE;

-- name: change
UPDATE api_keys SET name = coalesce($2, name), scopes = coalesce($3, scopes), expires_at = CASE WHEN $4::boolean THEN $5 ELSE expires_at END
WHERE id = $1;

-- name: revoke
UPDATE api_keys SET revoked_at = now(), revoked_by = $2::uuid, revoke_reason = $3 WHERE id = $1;

-- name: end_soon
UPDATE api_keys SET expires_at = least(expires_at, now() + $2::interval) WHERE id = $1 RETURNING expires_at;

-- name: carry_override
INSERT INTO rate_limit_configs (identifier, requests_per_minute, burst_limit, mode, reason, created_by, expires_at)
SELECT 'key:' || $2, requests_per_minute, burst_limit, mode, reason, created_by, expires_at
FROM rate_limit_configs WHERE identifier = 'key:' || $1 AND (expires_at IS NULL OR expires_at > now());
