-- What every later file stands on: the record of migrations, and the trigger that keeps updated_at.
CREATE TABLE schema_migrations (
    version int PRIMARY KEY,
    filename varchar(255) NOT NULL,
    checksum char(64) NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    duration_ms int NOT NULL
);

CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
