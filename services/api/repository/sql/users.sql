-- name: by_email
SELECT id::text, email, password_hash, role, tier, must_change_password, disabled_at FROM users WHERE lower(email) = lower($1);

-- name: by_id
SELECT id::text, email, password_hash, role, tier, must_change_password, disabled_at FROM users WHERE id = $1::uuid;

-- name: oldest_admin
SELECT id::text, email, password_hash, role, tier, must_change_password, disabled_at FROM users
WHERE role = 'admin' AND disabled_at IS NULL
ORDER BY created_at, id LIMIT 1;

-- name: logged_in
UPDATE users SET last_login = now(), password_hash = coalesce($2, password_hash) WHERE id = $1::uuid;

-- name: set_password
UPDATE users SET password_hash = $2, must_change_password = false WHERE id = $1::uuid;

-- name: lock_owner
-- the row is locked, so that two requests of one owner are counted one after the other
SELECT id::text, email, role, tier, disabled_at FROM users WHERE id = $1::uuid FOR NO KEY UPDATE;
