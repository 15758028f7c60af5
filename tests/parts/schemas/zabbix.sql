-- In the shape of Zabbix: many tables with defaults, history by clock, a change log filled by triggers, unlogged sessions.
CREATE TABLE role (roleid bigint NOT NULL, name varchar(255) DEFAULT '' NOT NULL, type integer DEFAULT '0' NOT NULL, PRIMARY KEY (roleid));
CREATE UNIQUE INDEX role_1 ON role (name);
CREATE TABLE ids (table_name varchar(64) DEFAULT '', field_name varchar(64) DEFAULT '', nextid bigint NOT NULL, PRIMARY KEY (table_name, field_name));
CREATE TABLE hosts (
  hostid bigint PRIMARY KEY, proxy_hostid bigint REFERENCES hosts (hostid), host varchar(128) DEFAULT '' NOT NULL,
  status integer DEFAULT '0' NOT NULL, name_upper varchar(128) DEFAULT '' NOT NULL, psk bytea DEFAULT '\x' NOT NULL
);
CREATE TABLE items (
  itemid bigint PRIMARY KEY, hostid bigint NOT NULL REFERENCES hosts ON DELETE CASCADE, templateid bigint REFERENCES items ON DELETE CASCADE,
  name varchar(255) DEFAULT '' NOT NULL, key_ varchar(2048) DEFAULT '' NOT NULL, delay varchar(1024) DEFAULT '0' NOT NULL
);
CREATE INDEX items_1 ON items (hostid, key_ varchar_pattern_ops);
CREATE TABLE history (itemid bigint NOT NULL, clock integer DEFAULT 0 NOT NULL, value double precision DEFAULT '0.0000' NOT NULL, ns integer DEFAULT 0 NOT NULL)
  PARTITION BY RANGE (clock);
CREATE TABLE trends (itemid bigint, clock integer, num integer DEFAULT 0, value_min numeric(20), value_max numeric(24, 2), PRIMARY KEY (itemid, clock))
  PARTITION BY HASH (itemid);
DO $$ BEGIN
  FOR n IN 0..5 LOOP
    EXECUTE format('CREATE TABLE history_p%s PARTITION OF history FOR VALUES FROM (%s) TO (%s)', n, n * 100, (n + 1) * 100);
    EXECUTE format('CREATE TABLE trends_p%s PARTITION OF trends FOR VALUES WITH (MODULUS 6, REMAINDER %s)', n, n);
  END LOOP;
  FOR n IN 1..60 LOOP
    EXECUTE format('CREATE TABLE media_type_%s (id bigint PRIMARY KEY, name varchar(100) DEFAULT '''' NOT NULL, script text)', n);
    EXECUTE format('INSERT INTO media_type_%s SELECT n, ''Email'', ''#!/bin/sh'' FROM generate_series(1, %s) n', n, n);
  END LOOP;
END $$;
CREATE TABLE history_detached (LIKE history);
ALTER TABLE history ATTACH PARTITION history_detached DEFAULT;
CREATE INDEX history_1 ON history (itemid, clock);
CREATE INDEX history_brin ON history USING brin (clock) WITH (pages_per_range = 16);
CREATE UNLOGGED TABLE sessions (sessionid varchar(32) PRIMARY KEY, userid bigint, lastaccess integer);
CREATE TABLE changelog (changelogid bigserial PRIMARY KEY, object integer NOT NULL, objectid bigint NOT NULL, operation integer NOT NULL, clock integer DEFAULT 0 NOT NULL);
CREATE FUNCTION changelog_hosts_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO changelog (object, objectid, operation) VALUES (1, NEW.hostid, 1); RETURN NEW; END $$;
CREATE TRIGGER hosts_insert AFTER INSERT ON hosts FOR EACH ROW EXECUTE PROCEDURE changelog_hosts_insert();
CREATE FUNCTION hosts_name_upper_upper() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN UPDATE hosts SET name_upper = upper(host) WHERE hostid = NEW.hostid; RETURN NULL; END $$;
CREATE TRIGGER hosts_name_upper_insert AFTER INSERT ON hosts FOR EACH ROW EXECUTE FUNCTION hosts_name_upper_upper();
CREATE CONSTRAINT TRIGGER items_checked AFTER UPDATE ON items DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hosts_name_upper_upper();
CREATE TRIGGER counted AFTER DELETE ON hosts REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hosts_name_upper_upper();
ALTER TABLE hosts ENABLE ALWAYS TRIGGER counted;

INSERT INTO role VALUES (1, 'User role', 1), (2, 'Admin role', 2);
INSERT INTO ids VALUES ('hosts', 'hostid', 10700), ('', '', 0);
INSERT INTO hosts (hostid, proxy_hostid, host) SELECT n, nullif(n - 1, 0), 'Zabbix server ' || n FROM generate_series(1, 200) n;
INSERT INTO items (itemid, hostid, templateid, key_) SELECT n, 1 + n % 200, nullif(n / 2, 0), 'system.cpu.load[all,"avg' || n || '"]' FROM generate_series(1, 1000) n;
INSERT INTO history SELECT n % 50, n % 700, n / 7.0, n FROM generate_series(1, 5000) n;
INSERT INTO trends SELECT n % 50, n, n, 18446744073709551615, n + 0.25 FROM generate_series(1, 1000) n;
INSERT INTO sessions SELECT md5(n::text), n, n FROM generate_series(1, 20) n;
