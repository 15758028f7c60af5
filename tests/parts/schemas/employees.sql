-- In the shape of the employees sample: composite keys, dates without end, exclusion constraints, latest rows by view.
CREATE SCHEMA employees;
CREATE SCHEMA unused;
CREATE TYPE employees.employee_gender AS ENUM ('M', 'X', 'F');
CREATE TYPE employees.period AS RANGE (subtype = date);
CREATE TABLE employees.employee (
  id bigint PRIMARY KEY, birth_date date NOT NULL, name varchar(30) NOT NULL, gender employees.employee_gender NOT NULL, hire_date date NOT NULL,
  CONSTRAINT hired_after_birth CHECK (hire_date > birth_date) NO INHERIT
);
CREATE SEQUENCE employees.id_employee_seq AS smallint START 1000 MINVALUE 10 CACHE 5 OWNED BY employees.employee.id;
ALTER TABLE employees.employee ALTER id SET DEFAULT nextval('employees.id_employee_seq');
CREATE TABLE employees.department (id character(4) PRIMARY KEY, dept_name varchar(40) NOT NULL UNIQUE);
CREATE TABLE employees.department_employee (
  employee_id bigint REFERENCES employees.employee ON UPDATE RESTRICT ON DELETE CASCADE, department_id character(4) REFERENCES employees.department,
  from_date date NOT NULL, to_date date NOT NULL, PRIMARY KEY (employee_id, department_id),
  EXCLUDE USING gist (int8range(employee_id, employee_id, '[]') WITH =, daterange(from_date, to_date) WITH &&) WHERE (from_date < to_date) DEFERRABLE
);
CREATE TABLE employees.salary (
  employee_id bigint REFERENCES employees.employee, amount bigint NOT NULL, during employees.period NOT NULL, PRIMARY KEY (employee_id, during)
) WITH (autovacuum_enabled = off, toast_tuple_target = 200);
CREATE TABLE employees.title (employee_id bigint, title varchar(50), from_date date, to_date date, PRIMARY KEY (employee_id, title, from_date));
CREATE TABLE employees.title_of_today (LIKE employees.title INCLUDING ALL);
CREATE TABLE employees.manager (bonus money, since date) INHERITS (employees.employee);
INSERT INTO employees.employee (birth_date, name, gender, hire_date)
  SELECT date '1953-09-02' + n, 'Georgi ' || n, (ARRAY['M', 'F', 'X'])[1 + n % 3]::employees.employee_gender, date '1986-06-26' + n FROM generate_series(1, 1000) n;
INSERT INTO employees.manager SELECT id + 10000, birth_date, name, gender, hire_date, 99.5, 'infinity' FROM employees.employee LIMIT 9;
INSERT INTO employees.department SELECT 'd' || lpad(n::text, 3, '0'), 'Department ' || n FROM generate_series(1, 9) n;
INSERT INTO employees.department_employee SELECT id, 'd00' || 1 + id % 9, hire_date, '9999-01-01' FROM ONLY employees.employee;
INSERT INTO employees.salary SELECT id, 60117 + id, employees.period(hire_date, NULL, '(]') FROM ONLY employees.employee;
INSERT INTO employees.salary SELECT id, 1, 'empty' FROM ONLY employees.employee LIMIT 5;
INSERT INTO employees.title SELECT id, 'Senior Engineer', '-infinity', '4713-01-01 BC' FROM ONLY employees.employee LIMIT 50;
CREATE VIEW employees.dept_emp_latest_date AS SELECT employee_id, max(from_date) AS from_date, max(to_date) AS to_date
  FROM employees.department_employee GROUP BY employee_id;
CREATE RECURSIVE VIEW employees.countdown (n) AS VALUES (3) UNION ALL SELECT n - 1 FROM countdown WHERE n > 0;
CREATE VIEW employees.ranked AS SELECT DISTINCT ON (gender) gender, rank() OVER w, count(*) FILTER (WHERE id > 5) OVER w AS later
  FROM employees.employee WINDOW w AS (PARTITION BY gender ORDER BY hire_date ROWS BETWEEN 2 PRECEDING AND CURRENT ROW EXCLUDE TIES);
CREATE STATISTICS employees.by_dates (ndistinct, mcv) ON birth_date, hire_date FROM employees.employee;
ALTER STATISTICS employees.by_dates SET STATISTICS 77;
ALTER TABLE employees.employee ALTER name SET STATISTICS 500, ALTER name SET STORAGE EXTERNAL, ALTER birth_date SET (n_distinct = -0.5);
ANALYZE;
