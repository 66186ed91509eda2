-- name: get
SELECT id, name, type, content, metadata, version, created_by, updated_by, created_at, updated_at
FROM resources WHERE id = $1;

-- name: page
SELECT id, name, type, metadata, version, created_by, updated_by, created_at, updated_at
FROM resources WHERE $1::text IS NULL OR type = $1
ORDER BY id DESC LIMIT $2 OFFSET $3;

-- name: count
SELECT count(*) FROM resources WHERE $1::text IS NULL OR type = $1;

-- name: create
INSERT INTO resources (name, type, content, metadata, created_by, updated_by)
VALUES ($1, $2, $3, $4, $5, $5)
RETURNING id, name, type, content, metadata, version, created_by, updated_by, created_at, updated_at;

-- name: lock
SELECT version, created_by FROM resources WHERE id = $1 FOR UPDATE;

-- name: change
UPDATE resources SET name = $2, type = $3, content = $4, metadata = $5, updated_by = $6 WHERE id = $1
RETURNING id, name, type, content, metadata, version, created_by, updated_by, created_at, updated_at;

-- name: delete
DELETE FROM resources WHERE id = $1;
