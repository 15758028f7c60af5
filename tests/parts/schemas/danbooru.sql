-- In the shape of Danbooru, an image board: arrays with GIN indexes, own text search, expressions, addresses, counters.
CREATE TYPE asset_status AS ENUM ('processing', 'active', 'deleted', 'expunged', 'failed');
CREATE FUNCTION array_lower(array_to_lower text[]) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
  'SELECT array_agg(lower(element)) FROM unnest(array_to_lower) element';
CREATE FUNCTION reverse_textregexeq(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT $2 ~ $1';
CREATE OPERATOR ~<< (FUNCTION = reverse_textregexeq, LEFTARG = text, RIGHTARG = text);
CREATE TEXT SEARCH DICTIONARY tags_simple (TEMPLATE = pg_catalog.simple, STOPWORDS = 'english');
CREATE TEXT SEARCH CONFIGURATION danbooru (COPY = pg_catalog.english);
ALTER TEXT SEARCH CONFIGURATION danbooru ALTER MAPPING FOR asciiword, word WITH tags_simple, english_stem;
CREATE CAST (asset_status AS jsonb) WITH INOUT AS ASSIGNMENT;

CREATE TABLE users (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar NOT NULL, bcrypt_password_hash varchar NOT NULL,
  bit_prefs bigint DEFAULT 0 NOT NULL, flags bit(8) DEFAULT B'00000001', more bit varying, last_ip_addr inet, network cidr, card macaddr, card8 macaddr8
);
CREATE TABLE posts (
  id serial PRIMARY KEY, uploader_id integer NOT NULL REFERENCES users DEFERRABLE INITIALLY DEFERRED, parent_id integer REFERENCES posts,
  created_at timestamp(3) without time zone NOT NULL, md5 uuid NOT NULL, tag_string text DEFAULT '' NOT NULL, rating character(1) DEFAULT 'q',
  has_children boolean DEFAULT false NOT NULL, size point, frame box, status asset_status DEFAULT 'processing',
  tags text[] GENERATED ALWAYS AS (string_to_array(tag_string, ' ')) STORED,
  CONSTRAINT rated CHECK (rating IN ('g', 's', 'q', 'e')) NOT VALID
);
CREATE TABLE notes (id serial PRIMARY KEY, post_id integer REFERENCES posts ON DELETE CASCADE, body text NOT NULL, at int[][] DEFAULT '{}', score jsonb);
CREATE TABLE wiki_pages (id serial, title varchar UNIQUE, body text, other_names text[] DEFAULT '{}'::text[] NOT NULL, search_path jsonpath DEFAULT '$.a[*] ? (@ > 1)');
CREATE TABLE good_jobs (id uuid PRIMARY KEY, priority int, params jsonb, wait interval day to second (3), daily time with time zone, at time(0));

INSERT INTO users (name, bcrypt_password_hash, flags, more, last_ip_addr, network, card, card8)
  SELECT 'user_' || n, md5(n::text), n::bit(8), n::bit(5)::bit varying, ('10.0.' || n % 256 || '.1/24')::inet, '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05'
  FROM generate_series(1, 100) n;
BEGIN;
INSERT INTO posts (id, uploader_id, parent_id, created_at, md5, tag_string, rating, size, frame, status)
  SELECT n, 1 + n % 100, nullif(n % 10, 0), timestamp '2005-05-24' + n * interval '1.001 s', md5(n::text)::uuid, '1girl hat_' || n || ' :3', 'g',
  point(n, -n / 3.0), box(point(0, 0), point(n, n)), (enum_range(NULL::asset_status))[1 + n % 5] FROM generate_series(1, 2000) n;
COMMIT;
SELECT setval('posts_id_seq', 2000, false);
INSERT INTO notes (post_id, body, at, score) SELECT 1 + n % 2000, E'it''s <b>\u3042</b> \\x ' || n, ARRAY[[n, 2], [3, NULL]], '{"a": [1, 1.50, null], "\u00e9": "\\u0041"}' FROM generate_series(1, 300) n;
INSERT INTO wiki_pages VALUES (DEFAULT, 'hat', 'A [[hat]] is worn', '{帽子,"a b","NULL",NULL}'), (DEFAULT, 'cat', NULL, '[5:6]={x,y}');
INSERT INTO good_jobs VALUES (md5('1')::uuid, 1, '[]', '1 12:59:10.1234', '04:05:06.789-08', '23:59:59.9');

CREATE INDEX index_posts_on_tags ON posts USING gin (tags) WITH (fastupdate = off);
CREATE INDEX index_posts_on_text ON posts USING gin (to_tsvector('danbooru', tag_string));
CREATE INDEX index_wiki_pages_on_other_names ON wiki_pages USING gin (array_lower(other_names));
CREATE INDEX index_posts_on_mpixels ON posts (((size[0] * size[1]) / 1000000.0));
CREATE INDEX index_posts_on_frame ON posts USING gist (frame);
CREATE INDEX index_posts_on_size ON posts USING spgist (size quad_point_ops);
CREATE INDEX index_users_on_hash ON users USING hash (name);
CREATE UNIQUE INDEX index_users_on_name ON users (lower(name::text)) WHERE bit_prefs & 1 = 0;
CREATE INDEX index_notes_on_score ON notes USING gin (score jsonb_path_ops);
ALTER INDEX index_posts_on_mpixels ALTER COLUMN 1 SET STATISTICS 3000;
