-- Roles of a cluster, once, by a superuser, connected to Daybook's database:
--     psql -v ON_ERROR_STOP=1 -d daybook -f deploy/roles.sql
-- It can be run again. `daybook migrate`, run as daybook_owner, does the rest: it makes a role
-- daybook_<schema> for each daemon (member of daybook_daemon, with the timeouts that belong to it)
-- and grants it what its migrations say. No role has a password here; where connections are not
-- trusted by their socket, set them: ALTER ROLE daybook_visits PASSWORD '...'.

DO $$
BEGIN
    -- What all daemons may do: hand in events, read the log and the directory's published views.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_daemon') THEN
        CREATE ROLE daybook_daemon NOLOGIN;
    END IF;
    -- Owns the schemas and runs the migrations. No daemon connects as it, so that row level
    -- security holds for all of them.
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_owner') THEN
        CREATE ROLE daybook_owner LOGIN CREATEROLE;
    END IF;
    GRANT daybook_daemon TO daybook_owner WITH ADMIN OPTION;
    EXECUTE format('ALTER DATABASE %I OWNER TO daybook_owner', current_database());
    -- Nobody else connects, nobody makes tables in public.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO daybook_daemon', current_database());
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
END
$$;
