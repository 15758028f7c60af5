-- In the shape of OpenStreetMap: versions of nodes, ways and relations, composite keys, enums, functions in indexes.
CREATE TYPE nwr_enum AS ENUM ('Node', 'Way', 'Relation');
CREATE TYPE user_status_enum AS ENUM ('pending', 'active', 'confirmed', 'suspended', 'deleted');
CREATE TYPE corner AS (lat int, lon int);
CREATE TYPE area AS (low corner, high corner, tags text[]);
CREATE FUNCTION tile_for_point(scaled_lat int, scaled_lon int) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE x bigint := round((scaled_lon / 10000000.0 + 180.0) * 65535.0 / 360.0); y bigint := round((scaled_lat / 10000000.0 + 90.0) * 65535.0 / 180.0);
BEGIN RETURN (x << 16) | y; END $$;
CREATE FUNCTION is_here(area) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT ($1).low IS NOT NULL';
CREATE TABLE users (id bigserial PRIMARY KEY, email text NOT NULL, display_name text NOT NULL, status user_status_enum DEFAULT 'pending' NOT NULL, home area);
CREATE TABLE changesets (
  id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, created_at timestamp NOT NULL, box area CHECK (is_here(box)),
  min_lat int, max_lat int, CHECK (min_lat <= max_lat)
);
CREATE TABLE nodes (
  node_id bigint NOT NULL, latitude int NOT NULL, longitude int NOT NULL, changeset_id bigint NOT NULL, visible boolean NOT NULL,
  tile bigint GENERATED ALWAYS AS (tile_for_point(latitude, longitude)) STORED, version bigint NOT NULL, redaction_id int
);
CREATE TABLE node_tags (node_id bigint NOT NULL, version bigint NOT NULL, k varchar DEFAULT '' NOT NULL, v varchar DEFAULT '' NOT NULL);
CREATE TABLE ways (way_id bigint, version bigint, visible boolean DEFAULT true NOT NULL, PRIMARY KEY (way_id, version));
CREATE TABLE way_nodes (way_id bigint, node_id bigint NOT NULL, version bigint, sequence_id bigint, PRIMARY KEY (way_id, version, sequence_id));
CREATE TABLE relations (relation_id bigint, version bigint, PRIMARY KEY (relation_id, version));
CREATE TABLE relation_members (
  relation_id bigint, version bigint DEFAULT 0, member_type nwr_enum NOT NULL, member_id bigint NOT NULL, member_role varchar NOT NULL, sequence_id int DEFAULT 0,
  PRIMARY KEY (relation_id, version, member_type, member_id, member_role, sequence_id)
);
CREATE TABLE gpx_files (id bigserial PRIMARY KEY, user_id bigint REFERENCES users, body oid NOT NULL);
CREATE TABLE schema_migrations (version varchar PRIMARY KEY);

INSERT INTO users (email, display_name, status, home)
  SELECT 'mapper' || n || '@example.org', 'マッパー ' || n, 'active', ROW(ROW(n, -n), ROW(NULL, 7), ARRAY['a,b', '"', '(c)', '\', NULL])::area FROM generate_series(1, 50) n;
INSERT INTO changesets (user_id, created_at, box, min_lat, max_lat)
  SELECT 1 + n % 50, timestamp '2004-08-09 12:00' + n * interval '1 min', ROW(ROW(1, 2), NULL, '{}')::area, n, n FROM generate_series(1, 300) n;
INSERT INTO nodes (node_id, latitude, longitude, changeset_id, visible, version)
  SELECT n / 2, (n * 7919 % 1800000000) - 900000000, (n * 104729::bigint % 3600000000 - 1800000000)::int, 1 + n % 300, n % 9 > 0, 1 + n % 2 FROM generate_series(1, 6000) n;
INSERT INTO node_tags SELECT n / 2, 1 + n % 2, 'name:' || n % 7, E'Stra\u00dfe\t' || n FROM generate_series(1, 2000) n;
INSERT INTO ways SELECT n, 1 FROM generate_series(1, 200) n;
INSERT INTO way_nodes SELECT 1 + n % 200, n, 1, n FROM generate_series(1, 2000) n;
INSERT INTO relations SELECT n, 1 FROM generate_series(1, 20) n;
INSERT INTO relation_members SELECT n, 1, (enum_range(NULL::nwr_enum))[1 + n % 3], n, CASE n % 2 WHEN 0 THEN '' ELSE 'outer' END, n FROM generate_series(1, 20) n;
INSERT INTO gpx_files (user_id, body) SELECT n, lo_from_bytea(0, decode(repeat(md5(n::text), 500), 'hex')) FROM generate_series(1, 5) n;
INSERT INTO schema_migrations SELECT (20100513171259 + n)::text FROM generate_series(1, 30) n;

ALTER TABLE nodes ADD CONSTRAINT nodes_pkey PRIMARY KEY (node_id, version);
ALTER TABLE node_tags ADD CONSTRAINT node_tags_pkey PRIMARY KEY (node_id, version, k), ADD CONSTRAINT node_tags_id_fkey FOREIGN KEY (node_id, version) REFERENCES nodes (node_id, version) MATCH FULL;
ALTER TABLE way_nodes ADD FOREIGN KEY (way_id, version) REFERENCES ways ON DELETE CASCADE;
ALTER TABLE relation_members ADD FOREIGN KEY (relation_id, version) REFERENCES relations;
ALTER TABLE nodes ADD FOREIGN KEY (changeset_id) REFERENCES changesets;
CREATE INDEX nodes_tile_idx ON nodes (tile_for_point(latitude, longitude), tile);
CREATE INDEX users_home_idx ON users ((((home).low).lat)) WHERE home IS NOT NULL;
CREATE UNIQUE INDEX users_display_name_idx ON users (lower(display_name) COLLATE "C");
CREATE VIEW current_nodes AS SELECT DISTINCT ON (node_id) nodes.*, ((u.home).high).lon FROM nodes JOIN changesets c ON c.id = changeset_id JOIN users u ON u.id = user_id ORDER BY node_id, version DESC;
