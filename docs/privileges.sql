-- Copyright: (c) 2026, the balcon.rollback authors
-- GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- The least rights with which a database can be rolled back; docs/privileges.md says what each is for. Typed once by a
-- superuser, on production's server and on staging's; typing it again changes nothing:
--
--   psql -X -v database=shop -v owner=shop -f privileges.sql
--   psql -X -v database=shop -v owner=shop_owner -v application=shop -f privileges.sql
--
--   database      the database; it is made where it is missing
--   owner         the role of rollback_database_url (or rollback_admin_url): owns the database and all that is in it
--   application   the application's own role, where it is another one than the owner; it can read and write rows only
--   others=yes    roles besides the application hold sessions on the database (reporting, people): let the owner end them
--   measure=yes   let the owner see the server's settings, and so measure the free disk; else set rollback_free_bytes
--   checkpoint=yes  let the owner force a checkpoint before the window, which makes the copy inside it shorter
--
-- Passwords are given afterwards, with \password, so that none is in a file or in the server's log.

\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages TO warning;

SELECT format('CREATE ROLE %I', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = :'owner') \gexec
ALTER ROLE :"owner" LOGIN NOSUPERUSER CREATEDB NOCREATEROLE NOREPLICATION;

SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = :'database') \gexec
ALTER DATABASE :"database" OWNER TO :"owner";

\if :{?others}
GRANT pg_signal_backend TO :"owner";
\endif
\if :{?measure}
GRANT pg_read_all_settings TO :"owner";
\endif
\if :{?checkpoint}
GRANT pg_checkpoint TO :"owner";
\endif

\if :{?application}
SELECT format('CREATE ROLE %I', :'application')
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = :'application') \gexec
ALTER ROLE :"application" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;

-- The owner may end the application's sessions, and those of no other role.
GRANT :"application" TO :"owner";

REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"application";

\connect :"database"
GRANT USAGE ON SCHEMA public TO :"application";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"application";
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO :"application";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"application";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO :"application";
\endif
