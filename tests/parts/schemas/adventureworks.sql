-- In the shape of AdventureWorks: a schema for each department, domains, unique row ids, views over many schemas, comments.
CREATE SCHEMA person; CREATE SCHEMA humanresources; CREATE SCHEMA production; CREATE SCHEMA sales; CREATE SCHEMA hr;
COMMENT ON SCHEMA person IS 'Contains objects related to names';
CREATE DOMAIN "AccountNumber" varchar(15);
CREATE DOMAIN "Flag" boolean NOT NULL;
CREATE DOMAIN "NameStyle" boolean DEFAULT false;
CREATE DOMAIN "Name" varchar(50) COLLATE "C" CHECK (VALUE <> '' AND VALUE !~ '^\s');
CREATE DOMAIN "ShortName" AS "Name" CONSTRAINT "is short" CHECK (length(VALUE) < 20);
CREATE DOMAIN "OrderNumbers" AS int[] CHECK (array_position(VALUE, NULL) IS NULL);
CREATE TABLE person.businessentity (businessentityid serial NOT NULL, rowguid uuid NOT NULL DEFAULT md5(random()::text)::uuid, modifieddate timestamp NOT NULL DEFAULT now());
CREATE TABLE person.person (
  businessentityid int NOT NULL, persontype char(2) NOT NULL, namestyle "NameStyle" NOT NULL DEFAULT false, title varchar(8), firstname "Name" NOT NULL, lastname "Name",
  emailpromotion int NOT NULL DEFAULT 0, CONSTRAINT "CK_Person_EmailPromotion" CHECK (emailpromotion BETWEEN 0 AND 2), CONSTRAINT "CK_Person_Type" CHECK (upper(persontype) IN ('SC', 'VC', 'IN'))
);
CREATE TABLE humanresources.employee (
  businessentityid int NOT NULL, jobtitle varchar(50) NOT NULL, salariedflag "Flag" DEFAULT true, vacationhours smallint DEFAULT 0, organizationnode varchar DEFAULT '/'
);
CREATE TABLE production.product (
  productid serial NOT NULL, name "Name" NOT NULL, number "ShortName", listprice numeric NOT NULL, standardcost numeric,
  margin numeric GENERATED ALWAYS AS (listprice - standardcost) STORED, orders "OrderNumbers", CHECK (listprice >= 0.00), style char(2)
);
CREATE TABLE production.billofmaterials (assemblyid int, componentid int NOT NULL, perassemblyqty decimal(8, 2) DEFAULT 1.00);
CREATE TABLE sales.salesorderheader (salesorderid serial NOT NULL, revisionnumber smallint, customerid int, accountnumber "AccountNumber", subtotal numeric DEFAULT 0.00);
CREATE TABLE sales.salesorderdetail (salesorderid int, detailid serial, productid int, qty smallint, unitprice numeric, linetotal numeric);
INSERT INTO person.businessentity (rowguid) SELECT md5(n::text)::uuid FROM generate_series(1, 300) n;
INSERT INTO person.person SELECT n, 'IN', n % 2 = 0, NULL, 'Ken' || n, 'Sánchez ' || n, n % 3 FROM generate_series(1, 300) n;
INSERT INTO humanresources.employee SELECT n, 'Chief "Executive"', true, n, '/' || n || '/' FROM generate_series(1, 290) n;
INSERT INTO production.product (name, number, listprice, standardcost, orders) SELECT 'Bearing ' || n, 'BE-' || n, n, n / 2.0, ARRAY[n, n] FROM generate_series(1, 504) n;
INSERT INTO production.billofmaterials SELECT n, 1 + n % 504, 2 FROM generate_series(1, 504) n;
INSERT INTO sales.salesorderheader (revisionnumber, customerid, accountnumber) SELECT 8, 1 + n % 300, '10-4020-' || n FROM generate_series(1, 400) n;
INSERT INTO sales.salesorderdetail (salesorderid, productid, qty, unitprice) SELECT 1 + n % 400, 1 + n % 504, n % 9, n / 7.0 FROM generate_series(1, 3000) n;
ALTER TABLE person.businessentity ADD CONSTRAINT "PK_BusinessEntity" PRIMARY KEY (businessentityid);
ALTER TABLE person.person ADD CONSTRAINT "PK_Person" PRIMARY KEY (businessentityid), ADD CONSTRAINT "FK_Person_Entity" FOREIGN KEY (businessentityid) REFERENCES person.businessentity;
CLUSTER person.person USING "PK_Person";
ALTER TABLE humanresources.employee ADD PRIMARY KEY (businessentityid), ADD FOREIGN KEY (businessentityid) REFERENCES person.person;
ALTER TABLE production.product ADD PRIMARY KEY (productid);
ALTER TABLE production.billofmaterials ADD FOREIGN KEY (componentid) REFERENCES production.product;
ALTER TABLE sales.salesorderheader ADD PRIMARY KEY (salesorderid), ADD FOREIGN KEY (customerid) REFERENCES person.person;
ALTER TABLE sales.salesorderdetail ADD PRIMARY KEY (salesorderid, detailid), ADD FOREIGN KEY (salesorderid) REFERENCES sales.salesorderheader ON DELETE CASCADE;
CREATE VIEW humanresources.vemployee AS SELECT e.businessentityid, p.title, p.firstname, e.jobtitle FROM humanresources.employee e JOIN person.person p USING (businessentityid);
CREATE VIEW hr.e AS SELECT businessentityid AS id, * FROM humanresources.employee;
CREATE VIEW sales.vperson AS WITH totals AS (SELECT customerid, sum(subtotal) AS total FROM sales.salesorderheader GROUP BY GROUPING SETS ((customerid), ()))
  SELECT v.*, t.total FROM humanresources.vemployee v LEFT JOIN LATERAL (SELECT total FROM totals WHERE customerid = v.businessentityid) t ON true;
CREATE MATERIALIZED VIEW production.vproducts AS SELECT p.productid, p.name, c.component FROM production.product p CROSS JOIN LATERAL (SELECT count(*) AS component FROM production.billofmaterials b WHERE b.componentid = p.productid) c;
CREATE UNIQUE INDEX ix_vproducts ON production.vproducts (productid);
COMMENT ON TABLE person.person IS 'Human beings involved with AdventureWorks: employees, customer contacts, and vendor contacts.';
COMMENT ON CONSTRAINT "CK_Person_Type" ON person.person IS 'SC = store contact';
COMMENT ON DOMAIN "ShortName" IS 'at most 19';
