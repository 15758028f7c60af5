-- Shadows of what pg_catalog has: run it as the ordinary owner of a database. Each function, aggregate, operator, view
-- and type raises an error when something calls it. `words` are the names to shadow.

CREATE TEMP TABLE words AS SELECT pg_catalog.unnest(pg_catalog.string_to_array('{words}', ' ')) AS word;

CREATE FUNCTION public.planted(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'planted % was called by %', what, CURRENT_USER; END $$;
CREATE FUNCTION public.planted_step(pg_catalog.int8) RETURNS pg_catalog.int8 LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'planted count was called by %', CURRENT_USER; END $$;
CREATE FUNCTION public.planted_step(pg_catalog.int8, pg_catalog.int8) RETURNS pg_catalog.int8 LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'planted sum was called by %', CURRENT_USER; END $$;
CREATE AGGREGATE public.count(*) (SFUNC = public.planted_step, STYPE = pg_catalog.int8, INITCOND = '0');
CREATE AGGREGATE public.sum(pg_catalog.int8) (SFUNC = public.planted_step, STYPE = pg_catalog.int8, INITCOND = '0');

-- Where pg_catalog takes a regclass or "any", a function for the exact type that a caller has fits better.
DO $do$ DECLARE f record; arguments pg_catalog.text; BEGIN
  FOR f IN
    SELECT p.oid, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid) AS args,
           pg_catalog.pg_get_function_result(p.oid) AS result
    FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 11 AND p.prokind = 'f' AND p.proname IN (SELECT word FROM words)
    UNION ALL SELECT 0, 'format', a, 'text' FROM pg_catalog.unnest(ARRAY['text, name', 'text, name, name', 'text, text']) a
  LOOP
    FOREACH arguments IN ARRAY ARRAY[f.args, pg_catalog.replace(f.args, 'regclass', 'oid')] LOOP
      BEGIN
        EXECUTE pg_catalog.format(
          'CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, arguments, f.result,
          pg_catalog.format('BEGIN RAISE EXCEPTION %L, CURRENT_USER; END', 'planted ' || f.proname || ' was called by %'));
      EXCEPTION WHEN OTHERS THEN NULL;  -- of a pseudo-type, or created before
      END;
    END LOOP;
  END LOOP;
END $do$;

DO $do$ DECLARE o record; BEGIN
  FOR o IN
    SELECT oprname, oprleft::pg_catalog.regtype AS l, oprright::pg_catalog.regtype AS r, oprresult::pg_catalog.regtype AS result
    FROM pg_catalog.pg_operator
    WHERE oprname IN ('=', '<>', '<', '<=', '>', '>=', '||', '~', '!~', '-', '/')
      AND oprleft IN ('oid'::regtype, 'name'::regtype, 'text'::regtype, '"char"'::regtype, 'int4'::regtype, 'int8'::regtype)
      AND oprright IN ('oid'::regtype, 'name'::regtype, 'text'::regtype, '"char"'::regtype, 'int4'::regtype, 'int8'::regtype)
  LOOP
    EXECUTE pg_catalog.format(
      'CREATE FUNCTION public.%I(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', 'operator ' || o.oprname, o.l, o.r, o.result,
      pg_catalog.format('BEGIN RAISE EXCEPTION %L, CURRENT_USER; END', 'planted operator ' || o.oprname || ' was called by %'));
    EXECUTE pg_catalog.format(
      'CREATE OPERATOR public.%s (FUNCTION = public.%I, LEFTARG = %s, RIGHTARG = %s)', o.oprname, 'operator ' || o.oprname, o.l, o.r);
  END LOOP;
END $do$;

DO $do$ DECLARE r record; BEGIN
  FOR r IN
    SELECT relname FROM pg_catalog.pg_class
    WHERE relnamespace = 11 AND relkind IN ('r', 'v') AND relname IN (SELECT word FROM words)
  LOOP
    BEGIN
      EXECUTE pg_catalog.format(
        'CREATE VIEW public.%I AS SELECT * FROM pg_catalog.%1$I WHERE public.planted(%L)', r.relname, 'view ' || r.relname);
    EXCEPTION WHEN OTHERS THEN NULL;  -- has a column of a pseudo-type
    END;
  END LOOP;
END $do$;

DO $do$ DECLARE t record; BEGIN
  FOR t IN
    SELECT typname FROM pg_catalog.pg_type
    WHERE typnamespace = 11 AND typtype = 'b' AND typelem = 0 AND typname IN (SELECT word FROM words)
  LOOP
    EXECUTE pg_catalog.format(
      'CREATE DOMAIN public.%I AS pg_catalog.%1$I CHECK (public.planted(%L))', t.typname, 'type ' || t.typname);
  END LOOP;
END $do$;
