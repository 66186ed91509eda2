-- What the two runtime roles may do; run after each `migrate up`, each role's part only if the role exists.

-- name: scalable_app
GRANT USAGE ON SCHEMA public TO scalable_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON users, api_keys, rate_limit_configs, resources, idempotency_keys TO scalable_app;
GRANT SELECT ON audit_log, audit_head, schema_migrations, gateway_keys, gateway_overrides TO scalable_app;
GRANT EXECUTE ON FUNCTION audit_append(uuid, text, text, text, text, text, inet, text, text, jsonb, text) TO scalable_app;

-- name: scalable_gateway
GRANT USAGE ON SCHEMA public TO scalable_gateway;
GRANT SELECT ON gateway_keys, gateway_overrides TO scalable_gateway;
