-- In the shape of Northwind, an importer: names with spaces, padded text, small and real numbers, pictures, many views.
CREATE SCHEMA "North Wind";
SET search_path = "North Wind";
CREATE TABLE categories (category_id smallint NOT NULL, category_name varchar(15) NOT NULL, description text, picture bytea);
CREATE TABLE customers (customer_id bpchar NOT NULL, company_name varchar(40) NOT NULL, region varchar(15), postal_code char(10));
CREATE TABLE "Order Details" (
  order_id smallint NOT NULL, product_id smallint NOT NULL, unit_price real NOT NULL, quantity smallint NOT NULL, discount real NOT NULL,
  "Extended Price" double precision GENERATED ALWAYS AS (unit_price * quantity * (1 - discount)) STORED
);
CREATE TABLE orders (
  order_id smallint NOT NULL, customer_id bpchar, employee_id smallint, order_date date, freight real, "ship's via" smallint
);
CREATE TABLE products (product_id smallint NOT NULL, product_name varchar(40) NOT NULL, category_id smallint, unit_price real DEFAULT 0, discontinued int NOT NULL);
CREATE TABLE employees (employee_id smallint NOT NULL, last_name varchar(20), notes text, reports_to smallint, photo bytea);
CREATE TABLE "100%" ("50%" int, "select" int, "a.b" int, "?" int, "$1" int, "\" int);

INSERT INTO categories SELECT n, 'Category ' || n, E'Soft drinks,\r\ncoffees \\ teas', decode(repeat(md5(n::text), 40), 'hex') FROM generate_series(1, 8) n;
INSERT INTO customers SELECT chr(65 + n % 26) || chr(65 + n / 26) || 'FKI', 'Company ' || n, CASE n % 3 WHEN 0 THEN '' END, 'WA1 ' || n FROM generate_series(0, 90) n;
INSERT INTO employees VALUES (2, 'Fuller', 'Ph.D.', NULL, ''), (1, 'Davolio', NULL, 2, '\x00'), (5, 'Buchanan', '\N', 2, '\x5c');
INSERT INTO products SELECT n, 'Product ' || n, 1 + n % 8, n * 1.1, n % 2 FROM generate_series(1, 77) n;
INSERT INTO orders SELECT 10248 + n, chr(65 + n % 26) || 'AFKI', (ARRAY[1, 2, 5])[1 + n % 3], date '1996-07-04' + n, n / 3.0, 1 FROM generate_series(0, 829) n;
INSERT INTO "Order Details" SELECT 10248 + n % 830, 1 + n % 77, n * 0.1, n % 30, (n % 5) * 0.05 FROM generate_series(1, 2155) n;
INSERT INTO "100%" VALUES (1, 2, 3, 4, 5, 6), ('-2147483648', NULL, NULL, NULL, NULL, 2147483647);

ALTER TABLE categories ADD CONSTRAINT pk_categories PRIMARY KEY (category_id);
ALTER TABLE customers ADD CONSTRAINT "pk customers" PRIMARY KEY (customer_id);
ALTER TABLE employees ADD CONSTRAINT pk_employees PRIMARY KEY (employee_id);
ALTER TABLE orders ADD CONSTRAINT pk_orders PRIMARY KEY (order_id), ADD CONSTRAINT "fk'orders" FOREIGN KEY (customer_id) REFERENCES customers;
ALTER TABLE products ADD CONSTRAINT pk_products PRIMARY KEY (product_id) WITH (fillfactor = 70);
ALTER TABLE "Order Details" ADD CONSTRAINT "PK ""Order"" Details" PRIMARY KEY (order_id, product_id);
ALTER TABLE "Order Details" ADD FOREIGN KEY (order_id) REFERENCES orders ON DELETE CASCADE;
ALTER TABLE employees ADD FOREIGN KEY (reports_to) REFERENCES employees ON DELETE SET NULL;
CREATE INDEX "Company Name" ON customers (lower(company_name) varchar_pattern_ops, region DESC NULLS LAST) WHERE region <> '';
CLUSTER orders USING pk_orders;
ALTER TABLE orders REPLICA IDENTITY USING INDEX pk_orders;
CREATE VIEW "Order Subtotals" AS SELECT order_id, sum("Extended Price") AS "Sub total" FROM "Order Details" GROUP BY order_id;
CREATE VIEW "Sales Totals by Amount" WITH (security_barrier) AS
  SELECT s.*, o.customer_id FROM "Order Subtotals" s JOIN orders o USING (order_id) WHERE s."Sub total" > 25;
CREATE VIEW current_products AS SELECT * FROM products WHERE discontinued = 0 WITH LOCAL CHECK OPTION;
ALTER VIEW current_products ALTER COLUMN unit_price SET DEFAULT 9;
COMMENT ON COLUMN "Order Details"."Extended Price" IS 'It''s 100% "computed"; -- see C:\temp';
