-- name: append
SELECT audit_append($1::uuid, $2, $3, $4, $5, $6, $7::inet, $8, $9, $10::jsonb, $11);
