-- name: exists
SELECT to_regclass('public.schema_migrations') IS NOT NULL;

-- name: applied
SELECT version, filename, checksum, applied_at, duration_ms FROM public.schema_migrations ORDER BY version;

-- name: record
INSERT INTO public.schema_migrations (version, filename, checksum, duration_ms) VALUES ($1, $2, $3, $4);

-- name: lock
SELECT pg_try_advisory_lock($1);

-- name: unlock
SELECT pg_advisory_unlock($1);

-- name: role_exists
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1);

-- name: has_admin
SELECT EXISTS (SELECT FROM users WHERE role = 'admin');

-- name: add_admin
INSERT INTO users (email, password_hash, role, tier, must_change_password) VALUES ($1, $2, 'admin', 'enterprise', true);
