-- A schema with one of everything that dumps, copies and fingerprints trip over. No part of it needs a superuser.
CREATE TYPE mood AS ENUM ('sad','ok','happy');
CREATE DOMAIN zip AS varchar(10) CHECK (VALUE ~ '^\d+$' AND VALUE NOT IN ('0','00'));
CREATE TABLE users (id serial PRIMARY KEY, email varchar(255) NOT NULL UNIQUE, status varchar(20) DEFAULT 'new' CHECK (status IN ('new','old','gone')), feeling mood, price numeric(12,2), profile jsonb, raw json, x xml, p point, tags text[], at timestamptz DEFAULT now(), iv interval, d double precision, full_name text GENERATED ALWAYS AS (lower(email)) STORED, z zip);
INSERT INTO users(email,status,feeling,price,profile,raw,p,tags,iv,d) SELECT 'u'||i||'@example.com', CASE i%2 WHEN 0 THEN 'new' ELSE 'old' END, (ARRAY['sad','ok','happy']::mood[])[1+i%3], i*1.10, jsonb_build_object('a',i), '{"a": 1}', point(i,i), ARRAY['a','b'], '24 hours', i/3.0 FROM generate_series(1,500) i;
CREATE TABLE "Odd ""Table.Na%me{}" ("a b" int, "C" text, "FROM stdin;" text);
INSERT INTO "Odd ""Table.Na%me{}" VALUES (1,E'line\nbreak \\. and \\N','x'),(2,E'\\.',NULL),(2,E'\\.',NULL);
CREATE TABLE nocols (); INSERT INTO nocols SELECT FROM generate_series(1,3);
CREATE TABLE part (id int, at date, v text) PARTITION BY RANGE (at);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE part_2 PARTITION OF part DEFAULT;
CREATE INDEX part_at ON part (at);
INSERT INTO part SELECT i, date '2025-06-01' + i, 'v' FROM generate_series(1,400) i;
CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent); INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2,3),(4,5);
CREATE UNLOGGED TABLE fast (a int); INSERT INTO fast VALUES (1);
CREATE MATERIALIZED VIEW mv AS SELECT count(*) n FROM users;
CREATE VIEW v AS SELECT id, email FROM users WHERE status IN ('new','old');
CREATE FUNCTION f(i int) RETURNS int LANGUAGE sql AS $$ SELECT i + 1 $$;
CREATE FUNCTION tg() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
-- COPY public.users (id) FROM stdin;
RETURN NEW; END $$;
CREATE TRIGGER t BEFORE UPDATE ON users FOR EACH ROW WHEN (OLD.status IN ('new','old')) EXECUTE FUNCTION tg();
CREATE AGGREGATE mysum(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE INDEX users_active ON users (lower(email)) WHERE status IN ('new','old');
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id int REFERENCES users ON DELETE CASCADE, note text);
INSERT INTO orders(user_id, note) SELECT 1+i%500, repeat('x',100) FROM generate_series(1,1000) i;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY pol ON orders USING (note IN ('a','b'));
SELECT lo_from_bytea(0,'hello'), lo_from_bytea(0,'world');
CREATE SEQUENCE unused; SELECT setval('orders_id_seq', 5000, false);
COMMENT ON TABLE users IS 'people'; GRANT SELECT ON users TO PUBLIC;
CREATE STATISTICS st ON id, status FROM users;
