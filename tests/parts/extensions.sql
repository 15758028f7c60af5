-- On top of shop.sql: the extensions that the server has, and tables that need them.

DO $$ DECLARE extension text; BEGIN
  FOR extension IN SELECT name FROM pg_available_extensions WHERE name IN ('pg_trgm', 'hstore', 'vector') LOOP
    EXECUTE format('CREATE EXTENSION %I', extension);
  END LOOP;
  IF to_regtype('hstore') IS NOT NULL THEN
    EXECUTE 'CREATE TABLE labels (id int PRIMARY KEY, kept hstore); INSERT INTO labels VALUES (1, ''a=>1, "b c"=>NULL'')';
  END IF;
  IF to_regtype('vector') IS NOT NULL THEN
    EXECUTE 'CREATE TABLE nearby (v vector(3)); INSERT INTO nearby VALUES (''[1,2,3]'')';
  END IF;
  IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') THEN
    EXECUTE 'CREATE INDEX by_trigram ON customers USING gin (name gin_trgm_ops)';
  END IF;
END $$;
