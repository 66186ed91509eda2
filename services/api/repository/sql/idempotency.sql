-- name: wait_a_second
-- Waits for a twin that is running, one second at most.
SET LOCAL lock_timeout = '1s';

-- name: wait_as_usual
SET LOCAL lock_timeout = '2s';

-- name: forget_expired
DELETE FROM idempotency_keys WHERE principal = $1 AND method_route = $2 AND key = $3 AND expires_at <= now();

-- name: begin
INSERT INTO idempotency_keys (principal, method_route, key, fingerprint, expires_at)
VALUES ($1, $2, $3, $4, now() + interval '24 hours')
ON CONFLICT DO NOTHING;

-- name: find
SELECT fingerprint, status, headers::text, body FROM idempotency_keys WHERE principal = $1 AND method_route = $2 AND key = $3;

-- name: finish
UPDATE idempotency_keys SET status = $4, headers = $5::jsonb, body = $6 WHERE principal = $1 AND method_route = $2 AND key = $3;
