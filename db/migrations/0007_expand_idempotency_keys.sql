-- The row is inserted first in the transaction of the effect: it waits for a twin, and it is gone if the effect is.
CREATE TABLE idempotency_keys (
    principal text NOT NULL,
    method_route text NOT NULL,
    key varchar(255) NOT NULL,
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    status smallint,
    headers jsonb,
    body bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (principal, method_route, key)
);
CREATE INDEX idempotency_keys_expires_at_idx ON idempotency_keys (expires_at);
