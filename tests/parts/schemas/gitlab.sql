-- In the shape of GitLab: partitions in schemas of their own, circular and deferred keys, loose keys by triggers, typed tables.
CREATE SCHEMA gitlab_partitions_dynamic; CREATE SCHEMA gitlab_partitions_static;
COMMENT ON SCHEMA gitlab_partitions_dynamic IS 'Schema to hold partitions managed dynamically from the application.';
CREATE FUNCTION insert_into_loose_foreign_keys_deleted_records() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO loose_foreign_keys_deleted_records (fully_qualified_table_name, primary_key_value)
  SELECT TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, old_table.id FROM old_table; RETURN NULL; END $$;
CREATE FUNCTION assign_partition() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.partition_id := coalesce(NEW.partition_id, 100); RETURN NEW; END $$;
CREATE TABLE loose_foreign_keys_deleted_records (
  id bigserial, partition bigint DEFAULT 1 NOT NULL, primary_key_value bigint NOT NULL, fully_qualified_table_name text NOT NULL,
  CONSTRAINT check_1a541f3235 CHECK (char_length(fully_qualified_table_name) <= 150), PRIMARY KEY (partition, id)
) PARTITION BY LIST (partition);
CREATE TABLE gitlab_partitions_static.loose_1 PARTITION OF loose_foreign_keys_deleted_records FOR VALUES IN (1, 2);
CREATE TABLE namespaces (id serial PRIMARY KEY, name varchar NOT NULL, owner_id int, traversal_ids int[] DEFAULT '{}' NOT NULL, project_id int);
CREATE TABLE projects (id serial PRIMARY KEY, namespace_id int NOT NULL, name varchar COLLATE "POSIX", star_count int DEFAULT 0, pool_id int, description text);
CREATE TABLE users (id serial PRIMARY KEY, username varchar, managing_project int);
CREATE TABLE p_ci_builds (
  id bigint NOT NULL, partition_id bigint NOT NULL, status varchar, project_id int, token bytea, options jsonb,
  CONSTRAINT p_ci_builds_pkey PRIMARY KEY (id, partition_id)
) PARTITION BY LIST (partition_id);
CREATE TABLE ci_builds (LIKE p_ci_builds INCLUDING ALL);
ALTER TABLE p_ci_builds ATTACH PARTITION ci_builds FOR VALUES IN (100);
CREATE TABLE gitlab_partitions_dynamic.ci_builds_101 PARTITION OF p_ci_builds FOR VALUES IN (101, 102);
CREATE TABLE gitlab_partitions_dynamic.ci_builds_none PARTITION OF p_ci_builds FOR VALUES IN (NULL, 103);
CREATE TABLE audit_events (id bigserial, created_at timestamp NOT NULL, author int, details text, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at, id);
CREATE TABLE gitlab_partitions_dynamic.audit_events_000000 PARTITION OF audit_events FOR VALUES FROM (MINVALUE, MINVALUE) TO ('2026-01-01', 0);
CREATE TABLE gitlab_partitions_dynamic.audit_events_202601 PARTITION OF audit_events FOR VALUES FROM ('2026-01-01', 0) TO ('2026-02-01', MAXVALUE);
CREATE TABLE p_ci_build_names (build_id bigint, partition_id bigint, name text, FOREIGN KEY (build_id, partition_id) REFERENCES p_ci_builds ON UPDATE CASCADE ON DELETE CASCADE);
CREATE UNIQUE INDEX p_ci_builds_token ON p_ci_builds (token, partition_id) WHERE token IS NOT NULL;
CREATE INDEX only_the_parent ON ONLY p_ci_builds (status);
CREATE TRIGGER assign BEFORE INSERT ON p_ci_builds FOR EACH ROW EXECUTE FUNCTION assign_partition();
CREATE TRIGGER projects_loose_fk_trigger AFTER DELETE ON projects REFERENCING OLD TABLE AS old_table FOR EACH STATEMENT EXECUTE FUNCTION insert_into_loose_foreign_keys_deleted_records();
CREATE TYPE build_kind AS (name text, priority numeric(5, 2));
CREATE TABLE build_kinds OF build_kind (name WITH OPTIONS PRIMARY KEY, priority DEFAULT 1.5);

INSERT INTO namespaces (name, owner_id, traversal_ids, project_id) SELECT 'group ' || n, n, ARRAY[1, n], n FROM generate_series(1, 100) n;
INSERT INTO users (username, managing_project) SELECT 'root' || n, 101 - n FROM generate_series(1, 100) n;
INSERT INTO projects (namespace_id, name) SELECT n, 'project-' || n FROM generate_series(1, 110) n WHERE n <= 100 OR n > 200;
INSERT INTO p_ci_builds SELECT n, 100 + n % 4, 'success', 1 + n % 100, decode(md5(n::text), 'hex'), '{"script": ["echo \"$CI\""]}' FROM generate_series(1, 2000) n;
INSERT INTO p_ci_build_names SELECT id, partition_id, 'rspec ' || id FROM p_ci_builds;
INSERT INTO audit_events (created_at, author) SELECT timestamp '2025-12-20' + n * interval '1 hour', n FROM generate_series(1, 700) n;
INSERT INTO build_kinds VALUES ('deploy', 3), ('test', DEFAULT);
INSERT INTO loose_foreign_keys_deleted_records (primary_key_value, fully_qualified_table_name) VALUES (1, 'public.projects');
ALTER TABLE namespaces ADD CONSTRAINT fk_owner FOREIGN KEY (owner_id) REFERENCES users DEFERRABLE, ADD CONSTRAINT fk_project FOREIGN KEY (project_id) REFERENCES projects ON DELETE SET NULL;
ALTER TABLE projects ADD CONSTRAINT fk_namespace FOREIGN KEY (namespace_id) REFERENCES namespaces DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE users ADD CONSTRAINT fk_managing FOREIGN KEY (managing_project) REFERENCES projects;
ALTER TABLE p_ci_builds ADD CONSTRAINT fk_build_project FOREIGN KEY (project_id) REFERENCES projects;
ALTER TABLE projects ADD CONSTRAINT check_description CHECK (char_length(description) <= 2000) NOT VALID;
