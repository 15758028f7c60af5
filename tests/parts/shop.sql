-- A small database with one of everything that dumps can lose. Run it as a superuser on PostgreSQL 13 to 18, with or
-- without ICU and libxml: psql -f, or one call of psycopg's execute without arguments.

DO $$ BEGIN
  IF to_regrole('"shop owner"') IS NULL THEN CREATE ROLE "shop owner"; END IF;
  IF to_regrole('shop_reader') IS NULL THEN CREATE ROLE shop_reader LOGIN; END IF;
END $$;

CREATE SCHEMA "Büro";
CREATE SCHEMA stock AUTHORIZATION "shop owner";
COMMENT ON SCHEMA stock IS 'stock by place; it''s "counted" nightly';

CREATE TYPE mood AS ENUM ('sad', 'ok', 'très content');
CREATE DOMAIN cents AS bigint CHECK (VALUE >= 0);
CREATE TYPE stock.place AS (aisle int, shelf text);
CREATE COLLATION plain (provider = libc, locale = 'C');

CREATE FUNCTION doubled(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT n * 2';
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, '') || '!'; RETURN NEW; END $$;
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$;
CREATE PROCEDURE nothing() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE AGGREGATE product_of(bigint) (SFUNC = int8mul, STYPE = bigint, INITCOND = '1');

-- Sequences without a table; one was never used.
CREATE SEQUENCE invoice_number START 5000 INCREMENT 5;
SELECT nextval('invoice_number') FROM generate_series(1, 7);
CREATE SEQUENCE "never used" MINVALUE -10 START -10 CYCLE;

-- Identity columns, generated columns, all kinds of defaults, a big table and a wide one.
CREATE TABLE customers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL COLLATE plain,
  feeling mood DEFAULT 'ok',
  balance cents DEFAULT 0,
  twice bigint GENERATED ALWAYS AS (balance * 2) STORED,
  seen timestamptz DEFAULT '2026-01-01 00:00+00',
  note text,
  dropped int
);
ALTER TABLE customers DROP COLUMN dropped;
INSERT INTO customers (name, feeling, balance, note)
  SELECT 'customer ' || n || E' \\ \t " '' ü', (ARRAY['sad', 'ok', 'très content'])[1 + n % 3]::mood, n, nullif(repeat('x', n % 5), '')
  FROM generate_series(1, 500) n;
COMMENT ON COLUMN customers.note IS E'two\nlines';
CREATE TRIGGER touching BEFORE INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touched();
ALTER TABLE customers DISABLE TRIGGER touching;

CREATE TABLE orders (
  id serial PRIMARY KEY,
  customer bigint NOT NULL REFERENCES customers ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  placed date NOT NULL,
  items jsonb NOT NULL,
  hash bytea,
  EXCLUDE USING btree (id WITH =)
);
INSERT INTO orders (customer, placed, items, hash)
  SELECT 1 + n % 500, date '2026-01-01' + n % 300, jsonb_build_object('n', n, 'é', repeat('item ', n % 20)), decode(md5(n::text), 'hex')
  FROM generate_series(1, 4000) n;
SET CONSTRAINTS ALL IMMEDIATE;
CREATE INDEX ON orders (placed, (items ->> 'n')) WHERE customer > 10;
CREATE STATISTICS orders_together (dependencies) ON customer, placed FROM orders;
CREATE VIEW recent AS SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE o.placed > '2026-06-01';
CREATE MATERIALIZED VIEW per_day AS SELECT placed, count(*) AS n FROM orders GROUP BY placed;
CREATE UNIQUE INDEX ON per_day (placed);
CREATE MATERIALIZED VIEW never_filled AS SELECT 1 AS one WITH NO DATA;

-- Foreign keys in a circle, and a table that references itself.
CREATE TABLE hens (id int PRIMARY KEY, egg int);
CREATE TABLE eggs (id int PRIMARY KEY, hen int REFERENCES hens);
INSERT INTO hens SELECT n, n FROM generate_series(1, 50) n;
INSERT INTO eggs SELECT n, 51 - n FROM generate_series(1, 50) n;
ALTER TABLE hens ADD FOREIGN KEY (egg) REFERENCES eggs;
CREATE TABLE staff (id int PRIMARY KEY, boss int REFERENCES staff);
INSERT INTO staff VALUES (2, NULL), (1, 2), (3, 1);

-- Two levels of partitions, a default and a detached partition, and table inheritance.
CREATE TABLE events (at date NOT NULL, kind text NOT NULL, body text) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (kind);
CREATE TABLE events_2026_a PARTITION OF events_2026 FOR VALUES IN ('a');
CREATE TABLE events_2026_other PARTITION OF events_2026 DEFAULT;
CREATE TABLE events_other PARTITION OF events DEFAULT;
CREATE INDEX ON events (at);
INSERT INTO events SELECT date '2024-12-01' + n, chr(97 + n % 3), 'event ' || n FROM generate_series(0, 899) n;
CREATE TABLE detached PARTITION OF events FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
INSERT INTO events VALUES ('2030-05-05', 'd', 'far');
ALTER TABLE events DETACH PARTITION detached;
CREATE TABLE hashed (k int, v text) PARTITION BY HASH (k);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT n, 'v' || n FROM generate_series(1, 100) n;
CREATE TABLE parent (a int);
CREATE TABLE child (b int) INHERITS (parent);
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (2, 3);

-- Names that need quotes.
CREATE TABLE "Büro"."Zettel ""A"". 1" ("Spalte ""x""" text, "ünï.cødé" int);
INSERT INTO "Büro"."Zettel ""A"". 1" VALUES ('it''s', 1), (E'back\\slash', 2), (E'new\nline', 3), (NULL, 4), ('\N', 5), ('', 6);
CREATE TABLE "Büro"."select" ("from" int DEFAULT 7);
INSERT INTO "Büro"."select" DEFAULT VALUES;
CREATE TABLE "Büro"."new
line" (a int);
INSERT INTO "Büro"."new
line" VALUES (1), (2);
CREATE TABLE "東京" ("都" text);
INSERT INTO "東京" VALUES ('渋谷'), ('🏯');

-- Tables that are empty, without columns, unlogged or typed.
CREATE TABLE empty (a int);
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
CREATE UNLOGGED TABLE passing (a int);
INSERT INTO passing SELECT generate_series(1, 10);
CREATE TABLE stock.places OF stock.place;
INSERT INTO stock.places VALUES (1, 'top'), (2, NULL);
ALTER TABLE stock.places OWNER TO "shop owner";
CREATE TABLE stock.odd (a float8, b numeric, c interval, d text[], e int4range, f bit(3), g uuid, h inet);
INSERT INTO stock.odd VALUES
  ('NaN', 'NaN', '1 year 2 months -3 days', ARRAY['a,b', NULL, '"'], '[1,5)', B'101', '00000000-0000-0000-0000-00000000002a', '::1/64'),
  ('-Infinity', 1e100, '-00:00:01', ARRAY[]::text[], 'empty', NULL, NULL, '10.0.0.0/8'),
  (0.1::float8 + 0.2, 0.000000001, NULL, NULL, NULL, NULL, NULL, NULL);

-- Row security, privileges, default privileges, rules.
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY readers_see_half ON orders FOR SELECT TO shop_reader USING (id % 2 = 0);
ALTER TABLE staff ENABLE ROW LEVEL SECURITY;
ALTER TABLE staff FORCE ROW LEVEL SECURITY;
GRANT SELECT, UPDATE (note) ON customers TO shop_reader;
GRANT USAGE ON SCHEMA "Büro", stock TO shop_reader WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION doubled(bigint) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA stock GRANT SELECT ON TABLES TO shop_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE "shop owner" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
CREATE RULE no_more AS ON DELETE TO hens DO INSTEAD NOTHING;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- Publications, event triggers.
CREATE PUBLICATION some_of_it FOR TABLE customers, orders WITH (publish = 'insert');
CREATE EVENT TRIGGER after_ddl ON ddl_command_end EXECUTE FUNCTION on_ddl();
ALTER EVENT TRIGGER after_ddl DISABLE;

-- Large objects: one of 3 MB, an empty one, with owner, comment and privileges.
SELECT lo_from_bytea(700001, decode(repeat(md5('lo'), 100000), 'hex'));
SELECT lo_create(700002);
SELECT lo_from_bytea(700003, '\x00ff00');
ALTER LARGE OBJECT 700003 OWNER TO "shop owner";
GRANT SELECT ON LARGE OBJECT 700001 TO shop_reader;
COMMENT ON LARGE OBJECT 700002 IS 'an empty one';

-- Settings of the database itself.
DO $$ BEGIN
  EXECUTE format('ALTER DATABASE %I SET search_path = "$user", public, stock', current_database());
  EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''77s''', current_database());
  EXECUTE format('ALTER ROLE shop_reader IN DATABASE %I SET work_mem = ''5MB''', current_database());
  EXECUTE format('COMMENT ON DATABASE %I IS ''the shop, it''''s ours''', current_database());
  EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 42', current_database());
END $$;
