-- In the shape of MusicBrainz: collations, own operators and range types, views with INSTEAD OF triggers and rules, inheritance.
CREATE SCHEMA musicbrainz; CREATE SCHEMA cover_art_archive; CREATE SCHEMA "report 2026";
SET search_path = musicbrainz;
CREATE COLLATION musicbrainz (provider = libc, lc_collate = 'C', lc_ctype = 'C');
CREATE TYPE fluency AS ENUM ('basic', 'intermediate', 'advanced', 'native');
CREATE TYPE taggable_entity_type AS ENUM ();
ALTER TYPE taggable_entity_type ADD VALUE 'área';
CREATE TYPE name_range AS RANGE (subtype = text, collation = musicbrainz);
CREATE FUNCTION length_diff(int, int) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT ($1 - $2)::float8';
CREATE TYPE length_range AS RANGE (subtype = int, subtype_diff = length_diff);
CREATE FUNCTION controlled_for_whitespace(text) RETURNS boolean LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS
  $$ SELECT NOT ($1 ~ E'\\s{2,}') AND btrim($1) <> '' $$;
CREATE FUNCTION create_bounding_int(a int, b int DEFAULT NULL, OUT low int, OUT high int) LANGUAGE sql IMMUTABLE AS 'SELECT least($1, $2), greatest($1, $2)';
CREATE TABLE artist_credit (id serial PRIMARY KEY, name text NOT NULL COLLATE musicbrainz, artist_count smallint NOT NULL, edits_pending int DEFAULT 0 NOT NULL CHECK (edits_pending >= 0));
CREATE TABLE artist (
  id serial PRIMARY KEY, gid uuid NOT NULL, name varchar NOT NULL CHECK (controlled_for_whitespace(name)), sort_name varchar COLLATE "C" NOT NULL,
  begin_date_year smallint, ended boolean DEFAULT false NOT NULL, area int, lengths length_range, names name_range,
  CONSTRAINT artist_ended_check CHECK (ended = true OR begin_date_year IS NOT NULL)
);
CREATE TABLE area (id serial PRIMARY KEY, part_of int, biggest_artist int, name text);
CREATE TABLE edit (id serial PRIMARY KEY, status smallint, opened timestamptz DEFAULT now()) WITH (fillfactor = 60);
CREATE TABLE edit_data (edit int PRIMARY KEY REFERENCES edit, data jsonb NOT NULL);
CREATE TABLE alias_base (id serial, name varchar NOT NULL, locale text, CONSTRAINT primary_check CHECK (locale IS NOT NULL OR name > ''));
CREATE TABLE artist_alias (artist int NOT NULL, PRIMARY KEY (id)) INHERITS (alias_base);
CREATE TABLE label_alias (label int, name varchar DEFAULT 'none') INHERITS (alias_base, edit_data);
ALTER TABLE label_alias ALTER locale SET DEFAULT 'en';
CREATE TABLE cover_art_archive.cover_art (id bigint PRIMARY KEY, mime_type text, scan oid, artist int REFERENCES musicbrainz.artist);
INSERT INTO area (part_of, biggest_artist, name) SELECT nullif(n / 3, 0), n, 'Área ' || n FROM generate_series(1, 50) n;
INSERT INTO artist (gid, name, sort_name, begin_date_year, area, lengths, names)
  SELECT md5(n::text)::uuid, 'The Beatles ' || n, 'Beatles, The ' || n, 1960, 1 + n % 50, length_range(n, n + 5, '[]'), name_range('A' || n, NULL) FROM generate_series(1, 400) n;
INSERT INTO artist_credit (name, artist_count) SELECT 'Queen & David Bowie' || n, 2 FROM generate_series(1, 200) n;
INSERT INTO edit (status) SELECT n % 9 FROM generate_series(1, 300) n;
INSERT INTO edit_data SELECT n, jsonb_build_object('old', 1e20, 'new', -0.0, 'n', n) FROM generate_series(1, 300) n;
INSERT INTO artist_alias (name, artist) SELECT 'alias' || n, n FROM generate_series(1, 40) n;
INSERT INTO label_alias (edit, data, label) SELECT 1000 + n, '{}', n FROM generate_series(1, 10) n;
INSERT INTO cover_art_archive.cover_art SELECT n, 'image/jpeg', lo_from_bytea(0, decode(md5(n::text), 'hex')), n FROM generate_series(1, 10) n;
ALTER TABLE area ADD FOREIGN KEY (part_of) REFERENCES area, ADD FOREIGN KEY (biggest_artist) REFERENCES artist;
ALTER TABLE artist ADD FOREIGN KEY (area) REFERENCES area;
CREATE INDEX artist_lengths ON artist USING gist (lengths);
CREATE INDEX artist_idx_name ON artist (name COLLATE musicbrainz text_pattern_ops, ((create_bounding_int(id, area)).low));
CREATE VIEW "report 2026".artists AS SELECT id, name, (create_bounding_int(id, area)).high FROM artist;
CREATE FUNCTION store_artist() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE musicbrainz.artist SET name = NEW.name WHERE id = OLD.id; RETURN NEW; END $$;
CREATE TRIGGER stored INSTEAD OF UPDATE ON "report 2026".artists FOR EACH ROW EXECUTE FUNCTION store_artist();
CREATE RULE removed AS ON DELETE TO "report 2026".artists DO INSTEAD (UPDATE musicbrainz.artist SET ended = true WHERE id = OLD.id; NOTIFY removed);
CREATE FUNCTION is_longer(length_range, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT upper($1) > $2';
CREATE OPERATOR musicbrainz.>># (FUNCTION = is_longer, LEFTARG = length_range, RIGHTARG = int);
CREATE VIEW long_ones AS SELECT gid, lengths OPERATOR(musicbrainz.>>#) 100 AS "is long?" FROM artist WHERE lengths OPERATOR(musicbrainz.>>#) 50;
CREATE OPERATOR FAMILY by_length USING btree;
CREATE OPERATOR CLASS int_by_length FOR TYPE int USING btree FAMILY by_length AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int);
CREATE INDEX edit_by_length ON edit (id int_by_length);
