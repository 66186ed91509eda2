-- name: page
SELECT id, identifier, requests_per_minute, burst_limit, mode, reason, created_by, created_at, updated_at, expires_at
FROM rate_limit_configs ORDER BY created_at DESC, id LIMIT $1 OFFSET $2;

-- name: count
SELECT count(*) FROM rate_limit_configs;

-- name: get
SELECT id, identifier, requests_per_minute, burst_limit, mode, reason, created_by, created_at, updated_at, expires_at
FROM rate_limit_configs WHERE id = $1;

-- name: create
INSERT INTO rate_limit_configs (identifier, requests_per_minute, burst_limit, mode, reason, expires_at, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING id, identifier, requests_per_minute, burst_limit, mode, reason, created_by, created_at, updated_at, expires_at;

-- name: lock
SELECT id, identifier, requests_per_minute, burst_limit, mode, reason, created_by, created_at, updated_at, expires_at
FROM rate_limit_configs WHERE id = $1 FOR UPDATE;

-- name: change
UPDATE rate_limit_configs
SET identifier = $2, requests_per_minute = $3, burst_limit = $4, mode = $5, reason = $6, expires_at = $7
WHERE id = $1
RETURNING id, identifier, requests_per_minute, burst_limit, mode, reason, created_by, created_at, updated_at, expires_at;

-- name: delete
DELETE FROM rate_limit_configs WHERE id = $1;

-- name: expired
DELETE FROM rate_limit_configs WHERE identifier = $1 AND expires_at <= now();

-- name: candidates
SELECT id, identifier, requests_per_minute, burst_limit, mode, reason, created_by, created_at, updated_at, expires_at
FROM rate_limit_configs
WHERE (expires_at IS NULL OR expires_at > now()) AND (identifier = ANY($1) OR ($2 AND identifier LIKE 'ip:%/%'));
