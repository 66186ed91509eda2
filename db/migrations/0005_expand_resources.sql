CREATE TABLE resources (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name varchar(255) NOT NULL,
    type varchar(50) NOT NULL CHECK (type ~ '^[a-z][a-z0-9-]*$'),
    content text NOT NULL DEFAULT '',
    metadata jsonb NOT NULL DEFAULT '{}',
    version int NOT NULL DEFAULT 1,
    created_by uuid REFERENCES users (id) ON DELETE SET NULL,
    updated_by uuid REFERENCES users (id) ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX resources_type_idx ON resources (type, id DESC);
CREATE INDEX resources_created_at_idx ON resources (created_at);

-- the version is the ETag: no writer can forget to raise it
CREATE FUNCTION bump_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END
$$;

CREATE TRIGGER resources_updated_at BEFORE UPDATE ON resources
    FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER resources_version BEFORE UPDATE ON resources
    FOR EACH ROW EXECUTE FUNCTION bump_version();
