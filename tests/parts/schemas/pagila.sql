-- In the shape of Pagila, a film rental: an enum, a domain, an aggregate, full-text search, partitions by month, a rule.
CREATE TYPE mpaa_rating AS ENUM ('G', 'PG', 'PG-13', 'R', 'NC-17');
CREATE DOMAIN year AS integer CONSTRAINT year_check CHECK (VALUE >= 1901 AND VALUE <= 2155);
CREATE DOMAIN bigint_id AS bigint NOT NULL DEFAULT 7;
CREATE FUNCTION _group_concat(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS $_$
  SELECT CASE WHEN $2 IS NULL THEN $1 WHEN $1 IS NULL THEN $2 ELSE $1 || ', ' || $2 END
$_$;
CREATE AGGREGATE group_concat(text) (SFUNC = _group_concat, STYPE = text);
CREATE FUNCTION last_updated() RETURNS trigger LANGUAGE plpgsql AS $_$
BEGIN NEW.last_update = CURRENT_TIMESTAMP; RETURN NEW; END $_$;

CREATE SEQUENCE actor_actor_id_seq;
CREATE TABLE actor (
  actor_id int DEFAULT nextval('actor_actor_id_seq'::regclass) PRIMARY KEY,
  first_name text NOT NULL, last_name text NOT NULL, last_update timestamptz DEFAULT now() NOT NULL
);
CREATE TABLE language (language_id serial PRIMARY KEY, name character(20) NOT NULL);
CREATE TABLE film (
  film_id serial PRIMARY KEY, title text NOT NULL, description text, release_year year,
  language_id int NOT NULL REFERENCES language ON UPDATE CASCADE ON DELETE RESTRICT,
  original_language_id int REFERENCES language,
  rental_rate numeric(4, 2) DEFAULT 4.99 NOT NULL, rating mpaa_rating DEFAULT 'G', special_features text[],
  fulltext tsvector NOT NULL, last_update timestamptz DEFAULT now() NOT NULL
);
CREATE TRIGGER film_fulltext_trigger BEFORE INSERT OR UPDATE ON film FOR EACH ROW
  EXECUTE FUNCTION tsvector_update_trigger('fulltext', 'pg_catalog.english', 'title', 'description');
CREATE TRIGGER last_updated BEFORE UPDATE ON film FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION last_updated();
CREATE INDEX film_fulltext_idx ON film USING gist (fulltext);
CREATE TABLE film_actor (actor_id int REFERENCES actor, film_id int REFERENCES film, PRIMARY KEY (actor_id, film_id));
CREATE TABLE customer (customer_id bigint_id PRIMARY KEY, active bool DEFAULT true, picture bytea, create_date date DEFAULT CURRENT_DATE);
CREATE TABLE payment (
  payment_id serial, customer_id bigint NOT NULL, amount numeric(5, 2) NOT NULL, payment_date timestamptz NOT NULL,
  PRIMARY KEY (payment_date, payment_id)
) PARTITION BY RANGE (payment_date);
CREATE TABLE payment_p2022_01 PARTITION OF payment FOR VALUES FROM ('2022-01-01 00:00+00') TO ('2022-02-01 00:00+00');
CREATE TABLE payment_p2022_02 (
  payment_date timestamptz NOT NULL, payment_id int DEFAULT nextval('payment_payment_id_seq') NOT NULL,
  amount numeric(5, 2) NOT NULL, customer_id bigint NOT NULL
);
ALTER TABLE payment ATTACH PARTITION payment_p2022_02 FOR VALUES FROM ('2022-02-01 00:00+00') TO ('2022-03-01 00:00+00');
CREATE INDEX idx_fk_payment_customer ON payment (customer_id);
ALTER TABLE payment_p2022_01 ADD CONSTRAINT fk_january FOREIGN KEY (customer_id) REFERENCES customer;
CREATE RULE payment_insert_p2021 AS ON INSERT TO payment WHERE NEW.payment_date < '2022-01-01' DO INSTEAD NOTHING;

INSERT INTO actor (first_name, last_name) SELECT 'FIRST' || n, 'LAST' || n % 20 FROM generate_series(1, 200) n;
INSERT INTO language (name) VALUES ('English'), ('Français'), ('日本語');
INSERT INTO film (title, description, release_year, language_id, rating, special_features, fulltext)
  SELECT 'ACADEMY ' || n, 'A Epic Drama of ' || n || ' Feminists', 1901 + n % 100, 1 + n % 3, (enum_range(NULL::mpaa_rating))[1 + n % 5],
  ARRAY['Trailers', 'Deleted "Scenes"', NULL], '' FROM generate_series(1, 500) n;
INSERT INTO film_actor SELECT 1 + n % 200, 1 + n % 500 FROM generate_series(1, 1000) n;
INSERT INTO customer SELECT n, n % 7 = 0, decode(md5(n::text), 'hex') FROM generate_series(1, 100) n;
ALTER TABLE payment DISABLE RULE payment_insert_p2021;
INSERT INTO payment (customer_id, amount, payment_date)
  SELECT 1 + n % 100, n % 10, timestamptz '2022-01-01 00:00+00' + n * interval '1 hour' FROM generate_series(0, 1400) n;

CREATE VIEW film_list AS SELECT film.film_id AS fid, film.title, group_concat(actor.first_name || ' ' || actor.last_name) AS actors
  FROM film LEFT JOIN film_actor USING (film_id) LEFT JOIN actor USING (actor_id) GROUP BY film.film_id, film.title;
CREATE VIEW actor_info AS SELECT a.actor_id, (SELECT group_concat(title) FROM film_list f WHERE f.fid = a.actor_id) AS films FROM actor a;
CREATE MATERIALIZED VIEW rental_by_category AS SELECT rating, sum(rental_rate) AS total FROM film GROUP BY rating WITH NO DATA;
CREATE MATERIALIZED VIEW of_it AS SELECT date_trunc('month', payment_date AT TIME ZONE 'UTC') AS month, sum(amount) FROM payment GROUP BY 1;
CREATE UNIQUE INDEX rental_category ON rental_by_category (rating);
