-- Demo mode's rows: known to everybody, so never outside loopback.

-- name: users
INSERT INTO users (id, email, password_hash, role, tier) VALUES
    ('00000000-0000-0000-0000-000000000001', 'admin@example.com', $1, 'admin', 'enterprise'),
    ('00000000-0000-0000-0000-000000000002', 'user@example.com', $2, 'user', 'free')
ON CONFLICT DO NOTHING;

-- name: has_resources
SELECT EXISTS (SELECT FROM resources);

-- name: resources
INSERT INTO resources (name, type, content, created_by, updated_by, created_at, updated_at)
SELECT 'Resource ' || n, (ARRAY['document', 'image', 'video'])[1 + (n - 1) % 3], 'Content of resource ' || n,
    '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000001',
    now() - (100 - n) * interval '1 day', now() - (100 - n) * interval '1 day'
FROM generate_series(1, 100) AS n;

-- name: forget_keys
DELETE FROM api_keys WHERE user_id = '00000000-0000-0000-0000-000000000001' AND name LIKE 'demo-%';

-- name: key
INSERT INTO api_keys (id, user_id, key_hash, pepper_id, name, tier, scopes, env, created_by)
VALUES ($1, '00000000-0000-0000-0000-000000000001', $2, $3, 'demo-' || $4::text, $4::text, ARRAY['read', 'write'], 'test',
    '00000000-0000-0000-0000-000000000001');
