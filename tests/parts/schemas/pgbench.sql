-- In the shape of pgbench: fill factors, partitioned accounts, a history without a key, functions in both transaction styles.
CREATE TABLE pgbench_branches (bid int NOT NULL, bbalance int, filler char(88)) WITH (fillfactor = 100);
CREATE TABLE pgbench_tellers (tid int NOT NULL, bid int, tbalance int, filler char(84)) WITH (fillfactor = 90);
CREATE TABLE pgbench_accounts (aid int NOT NULL, bid int, abalance int, filler char(84)) PARTITION BY RANGE (aid);
CREATE TABLE pgbench_accounts_1 PARTITION OF pgbench_accounts FOR VALUES FROM (MINVALUE) TO (2001) WITH (fillfactor = 80);
CREATE TABLE pgbench_accounts_2 PARTITION OF pgbench_accounts FOR VALUES FROM (2001) TO (MAXVALUE) PARTITION BY HASH (aid);
CREATE TABLE pgbench_accounts_2_0 PARTITION OF pgbench_accounts_2 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE pgbench_accounts_2_1 PARTITION OF pgbench_accounts_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
INSERT INTO pgbench_branches VALUES (1, 0, NULL), (2, 5, 'x');
INSERT INTO pgbench_tellers SELECT n, 1 + n % 2, 0, '' FROM generate_series(1, 20) n;
INSERT INTO pgbench_accounts SELECT n, 1 + n % 2, n, '' FROM generate_series(1, 6000) n;
INSERT INTO pgbench_history SELECT n % 20, 1, n, -n, timestamp '2026-01-01' FROM generate_series(1, 500) n;
INSERT INTO pgbench_history SELECT 1, 1, 1, 1, NULL, NULL FROM generate_series(1, 10);
ALTER TABLE pgbench_branches ADD PRIMARY KEY (bid);
ALTER TABLE pgbench_tellers ADD PRIMARY KEY (tid);
ALTER TABLE pgbench_accounts ADD PRIMARY KEY (aid);
ALTER TABLE pgbench_tellers ADD CONSTRAINT pgbench_tellers_bid_fkey FOREIGN KEY (bid) REFERENCES pgbench_branches;
ALTER TABLE pgbench_accounts ADD CONSTRAINT pgbench_accounts_bid_fkey FOREIGN KEY (bid) REFERENCES pgbench_branches;
ALTER TABLE pgbench_history ADD CONSTRAINT pgbench_history_aid_fkey FOREIGN KEY (aid) REFERENCES pgbench_accounts;
CREATE PROCEDURE tpcb(INOUT delta int, account int DEFAULT 1) LANGUAGE plpgsql AS $_$
BEGIN
  UPDATE pgbench_accounts SET abalance = abalance + delta WHERE aid = account;
  COMMIT;
  INSERT INTO pgbench_history VALUES (1, 1, account, delta, now());
END $_$;
CREATE FUNCTION balances(VARIADIC accounts int[]) RETURNS TABLE (aid int, balance int) ROWS 7 COST 33 STABLE LANGUAGE sql AS
  'SELECT a.aid, a.abalance FROM pgbench_accounts a WHERE a.aid = ANY (accounts)';
COMMENT ON INDEX pgbench_branches_pkey IS 'of branches';
