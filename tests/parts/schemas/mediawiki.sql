-- In the shape of MediaWiki: a search vector by trigger, own sequences, large objects, rules, event triggers, owners, publications.
CREATE SCHEMA mediawiki;
DO $$ BEGIN IF to_regrole('"wiki ""owner"""') IS NULL THEN CREATE ROLE "wiki ""owner"""; END IF; END $$;
SET search_path = mediawiki;
CREATE SEQUENCE page_page_id_seq MINVALUE 0 START WITH 0 MAXVALUE 99999 CYCLE;
CREATE SEQUENCE down_seq INCREMENT -3 MINVALUE -100 MAXVALUE 50 START 50;
SELECT nextval('down_seq'), nextval('down_seq');
CREATE SEQUENCE as_small AS smallint;
CREATE SEQUENCE used_up MAXVALUE 2;
SELECT nextval('used_up') FROM generate_series(1, 2);
CREATE TABLE mwuser (user_id int NOT NULL PRIMARY KEY DEFAULT nextval('as_small'), user_name text NOT NULL UNIQUE, user_touched timestamptz);
CREATE TABLE page (
  page_id int NOT NULL DEFAULT nextval('page_page_id_seq'), page_namespace smallint NOT NULL, page_title text NOT NULL, page_random numeric(15, 14) DEFAULT 0.5,
  page_latest int NOT NULL, titlevector tsvector, CONSTRAINT page_title_ok CHECK (page_title NOT LIKE '% %'), PRIMARY KEY (page_id)
);
ALTER SEQUENCE page_page_id_seq OWNED BY page.page_id;
CREATE TABLE revision (rev_id serial UNIQUE, rev_page int NULL REFERENCES page ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, rev_comment text, rev_sha1 text DEFAULT '');
CREATE TABLE pagecontent (old_id serial PRIMARY KEY, old_text text, old_flags text, textvector tsvector GENERATED ALWAYS AS (to_tsvector('english'::regconfig, coalesce(old_text, ''))) STORED);
CREATE TABLE image (img_name text PRIMARY KEY, img_data bytea, img_thumb oid, img_metadata bytea NOT NULL DEFAULT '\x');
CREATE TABLE objectcache (keyname text UNIQUE, value bytea NOT NULL DEFAULT '', exptime timestamptz NOT NULL DEFAULT 'infinity');
CREATE TABLE archive () INHERITS (revision);
CREATE FUNCTION page_deleted() RETURNS trigger LANGUAGE plpgsql AS $mw$ BEGIN DELETE FROM recentchanges WHERE rc_namespace = OLD.page_namespace; RETURN NULL; END; $mw$;
CREATE TRIGGER page_deleted AFTER DELETE ON page FOR EACH ROW EXECUTE PROCEDURE page_deleted();
CREATE FUNCTION ts2_page_title() RETURNS trigger LANGUAGE plpgsql AS $mw$ BEGIN
  NEW.titlevector = to_tsvector('default_of_wiki', replace(NEW.page_title, '/', ' ')); RETURN NEW; END; $mw$;
CREATE TEXT SEARCH CONFIGURATION default_of_wiki (PARSER = "default");
ALTER TEXT SEARCH CONFIGURATION default_of_wiki ADD MAPPING FOR asciiword WITH simple;
CREATE TRIGGER page_title BEFORE INSERT OR UPDATE OF page_title ON page FOR EACH ROW EXECUTE FUNCTION mediawiki.ts2_page_title();
INSERT INTO mwuser (user_name) SELECT 'Jimbo Wales ' || n FROM generate_series(1, 20) n;
INSERT INTO page (page_namespace, page_title, page_latest) SELECT n % 15, 'Main/Page_' || n, n FROM generate_series(1, 500) n;
INSERT INTO revision (rev_page, rev_comment) SELECT n % 500, E'/* Section */ \u2192 [[link]]' FROM generate_series(1, 1500) n;
INSERT INTO archive (rev_page) SELECT 77777 FROM generate_series(1, 5);
INSERT INTO pagecontent (old_text, old_flags) SELECT repeat('Running foxes ''''jump'''' ' || n || E'\n', 50), 'utf-8,gzip' FROM generate_series(1, 200) n;
INSERT INTO image SELECT 'File_' || n || '.png', decode(repeat('00ff0d0a5c', n * 50), 'hex'), lo_from_bytea(0, '\x89504e47') FROM generate_series(1, 8) n;
INSERT INTO objectcache VALUES (E'wiki:messages:en\u00e9', '\xdeadbeef', '-infinity'), (NULL, '', DEFAULT);
UPDATE page SET page_random = 0.12345678901234;
SET CONSTRAINTS ALL IMMEDIATE;
CREATE INDEX ts2_page_title ON page USING gin (titlevector);
CREATE INDEX pagecontent_vector ON pagecontent USING gist (textvector);
CREATE UNIQUE INDEX page_unique_name ON page (page_namespace, page_title);
CREATE RULE no_anonymous AS ON INSERT TO mwuser WHERE NEW.user_name = '' DO INSTEAD NOTHING;
CREATE RULE also AS ON UPDATE TO page WHERE NEW.page_latest < 0 DO ALSO INSERT INTO mediawiki.objectcache VALUES ('p' || NEW.page_id);
ALTER TABLE revision OWNER TO "wiki ""owner""";
GRANT SELECT (user_id, user_name) ON mwuser TO "wiki ""owner""", PUBLIC;
CREATE FUNCTION on_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1 FROM pg_event_trigger_dropped_objects(); END $$;
CREATE EVENT TRIGGER "on drop" ON sql_drop WHEN TAG IN ('DROP TABLE', 'DROP INDEX') EXECUTE FUNCTION on_drop();
CREATE PUBLICATION pages FOR TABLE page, ONLY revision WITH (publish = 'insert, update');
ALTER TABLE objectcache REPLICA IDENTITY FULL;
