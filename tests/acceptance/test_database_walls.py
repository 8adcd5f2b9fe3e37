"""The walls in the database (SEC-01, F61): each daemon's own role tries to cross from one company to another, into
another daemon's schema, and to more rights than it has.

On a cluster that is set up as docs/operate.md says, with schemas as `daybook migrate` makes them. What is tried
comes from the catalogue, so a table, view, function or role of tomorrow is tried too; what is deliberately open
stands in the tables below, each with its reason, and no more than that may be open.
"""

import collections
import os
import subprocess

import psycopg
import pytest
from private_postgres import SUPERUSER, PrivatePostgres
from psycopg import sql
from stack import DAEMONS, ROOT

OWNER, EVERY = "daybook_owner", "daybook_daemon"
ROLES = [f"daybook_{name}" for name in DAEMONS]
A, B = "0193aaaa-0000-7000-8000-000000000001", "0193bbbb-0000-7000-8000-000000000002"
NEW = "0193cccc-0000-7000-8000-000000000003"  # has no rows yet
OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
WALL = "(tenant_id = ( SELECT (NULLIF(current_setting('daybook.tenant'::text, true), ''::text))::uuid AS \"nullif\"))"

# --- what is open, and why ----------------------------------------------------------------------------

# Rows of all companies, seen without a company set. Ids and moments only: a daemon's own threads look through
# them for what is due, and then work company by company.
WORK_LISTS = {"reminders.timer", "reminders.outgoing", "reminders.recalculation", "gateway.outgoing",
              "gateway.transfer_work"}
# Tables with a tenant_id and no wall: the event log is one for all companies. The bus sequences, counts and serves
# it, and consumers read all of it with one cursor.
LOG = {"bus.log", "bus.tenant_head", "bus.type_count"}
# What a consumer could not take of it, whichever company's.
PARKED = {f"{name}.parked_event" for name in DAEMONS}
# The bus takes all companies' events out of the outbox; nobody else reads it.
OUTBOX = "bus.outbox"
# Walls that do not bind the owner: his views publish these rows to all daemons (directory_api), and his tools count
# what waits in the outbox. No daemon connects as him.
NOT_FORCED = {OUTBOX} | {f"directory.{table}" for table in (
    "tenant", "unit", "employee", "policy_key", "policy_setting", "calendar_year", "calendar_day", "credential")}
# Beyond its own schema a role has exactly this.
PUBLISHED = {f"directory_api.{view}" for view in (
    "revision", "tenant", "unit", "employee", "policy_setting", "calendar_year", "calendar_day", "bus_key")}
FOREIGN = {OUTBOX: {"INSERT"}, "bus.log": {"SELECT"}, "bus.head": {"SELECT"}, **{v: {"SELECT"} for v in PUBLISHED}}
# Hashes of secrets, for the one who proves callers by them.
FOREIGN_OF = {"daybook_gateway": {"directory_api.api_key": {"SELECT"}, "directory_api.calendar_feed": {"SELECT"}}}
# Policies that are not the wall itself.
OTHER_POLICIES = {(OUTBOX, "hand_in"), (OUTBOX, "take_out"), *((table, "look_for_work") for table in WORK_LISTS)}
# Unique keys that do not begin with the company, so that whether a value is taken could be felt from another one:
# random or counted by the bus, told by nobody.
KEYS_ACROSS = {"credential_curve_key", "log_pkey", "log_event_id", "outbox_pkey"} | {"parked_event_pkey"}
# Functions that anybody may call, if he may use their schema: one of reminders, and the operators of an extension.
PUBLIC_FUNCTIONS = {"reminders.at"}
SECURITY_DEFINER = set()


# --- the database -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def postgres():
    private = PrivatePostgres()
    try:
        private.psql("-c", "CREATE DATABASE daybook")
        private.psql("-f", str(ROOT / "deploy/roles.sql"), database="daybook")
        env = {**os.environ, "DAYBOOK_MIGRATE_URL": private.conninfo(OWNER, "daybook")}
        done = subprocess.run([f"{os.environ['DAYBOOK_BIN']}/daybook", "migrate"], env=env, text=True,
                              capture_output=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        yield private
    finally:
        private.remove()


@pytest.fixture(scope="module")
def admin(postgres):
    with psycopg.connect(postgres.conninfo(SUPERUSER, "daybook"), autocommit=True) as connection:
        yield connection


def column(connection, query, params=None):
    return [row[0] for row in connection.execute(query, params).fetchall()]


def tables(connection, with_tenant=True):
    """schema.table of every table of ours."""
    return column(connection, f"""
        SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND {OURS} AND (NOT %s OR EXISTS (
               SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND a.attnum > 0))
         ORDER BY 1""", (with_tenant,))


def name(table):
    return sql.Identifier(*table.split("."))


@pytest.fixture(scope="module")
def filled(admin):
    """Two rows in each table, one of A and one of B. What a row must be like by its constraints does not matter to
    the walls, so those are dropped, in this database that nobody else uses. Returns how to make such a row."""
    for table, constraint in admin.execute(f"""
            SELECT n.nspname || '.' || c.relname, o.conname FROM pg_constraint o
              JOIN pg_class c ON c.oid = o.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE {OURS} AND o.contype IN ('f', 'c', 'x') ORDER BY o.contype DESC""").fetchall():
        admin.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(name(table), sql.Identifier(constraint)))
    rows = {}
    for table in tables(admin):
        needed = admin.execute("""
            SELECT attname, atttypid::regtype::text FROM pg_attribute
             WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attnotnull AND attidentity = ''
               AND attname <> 'tenant_id'""", (table,)).fetchall()
        rows[table] = needed
        for number, tenant in enumerate((A, B)):
            admin.execute(insert(table, needed, number), {"tenant": tenant})
    return rows


VALUES = {"uuid": "gen_random_uuid()", "text": "'v{n}'", "timestamp with time zone": "now()", "date": "current_date",
          "boolean": "false", "bytea": "'\\x0{n}'", "json": "'{{}}'", "jsonb": "'{{}}'"}


def insert(table, needed, number):
    def value(kind):
        return VALUES.get(kind, "'{{}}'" if kind.endswith("[]") else f"'{{n}}'::{kind}").format(n=number)

    values = [sql.SQL(value(kind)) for _, kind in needed]
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        name(table), sql.SQL(", ").join(map(sql.Identifier, ["tenant_id", *(c for c, _ in needed)])),
        sql.SQL(", ").join([sql.SQL("%(tenant)s"), *values]))


class Intruder:
    """A daemon's role, which undoes whatever it did."""

    def __init__(self, postgres, role):
        self.role = role
        self.connection = psycopg.connect(postgres.conninfo(role, "daybook"))

    def tries(self, query, tenant=None, params=None):
        """Number of rows, or "refused". Any other error is a fault of the test."""
        try:
            if tenant:
                self.connection.execute(f"SET LOCAL daybook.tenant = '{tenant}'")
            result = self.connection.execute(query, params)
            return result.fetchall() if result.description else result.rowcount
        except psycopg.errors.InsufficientPrivilege:
            return "refused"
        finally:
            self.connection.rollback()


@pytest.fixture(params=ROLES)
def intruder(request, postgres):
    one = Intruder(postgres, request.param)
    yield one
    one.connection.close()


# --- rows ---------------------------------------------------------------------------------------------


def open_to(role, table):
    """Does the role see rows of all companies there?"""
    own = table.split(".")[0] == role.removeprefix("daybook_")
    return table == "bus.log" or (own and table in LOG | PARKED) or (role == "daybook_bus" and table == OUTBOX)


def walled(intruder, admin, privilege):
    return [t for t in tables(admin) if not open_to(intruder.role, t) and column(
        admin, "SELECT has_schema_privilege(%(role)s, split_part(%(table)s, '.', 1), 'USAGE') "
               "AND has_table_privilege(%(role)s, %(table)s, %(right)s)",
        {"role": intruder.role, "table": t, "right": privilege})[0]]


def test_without_a_company_nothing_is_seen(intruder, admin, filled):
    for table in walled(intruder, admin, "SELECT"):
        seen = intruder.tries(sql.SQL("SELECT 1 FROM {}").format(name(table)))
        assert len(seen) == (2 if table in WORK_LISTS else 0), table


def test_of_another_company_nothing_is_seen(intruder, admin, filled):
    checked = walled(intruder, admin, "SELECT")
    for table in checked:
        seen = intruder.tries(sql.SQL("SELECT tenant_id::text FROM {}").format(name(table)), A)
        assert seen == [(A,)], table
        assert intruder.tries(sql.SQL("SELECT 1 FROM {} WHERE tenant_id = %s").format(name(table)), A, (B,)) == [], table
    assert f"{intruder.role.removeprefix('daybook_')}.idempotency" in checked


def test_no_row_is_made_for_another_company(intruder, admin, filled):
    for table in walled(intruder, admin, "INSERT") + [OUTBOX]:
        row = insert(table, filled[table], 7)
        assert intruder.tries(row, NEW, {"tenant": NEW}) == 1, f"{table}: else the refusals prove nothing"
        assert intruder.tries(row, NEW, {"tenant": B}) == "refused", table
        assert intruder.tries(row, None, {"tenant": B}) == "refused", table


def test_no_row_of_another_company_is_changed_or_moved(intruder, admin, filled):
    for table in walled(intruder, admin, "UPDATE"):
        change = sql.SQL("UPDATE {} SET tenant_id = tenant_id").format(name(table))
        assert intruder.tries(change, A) == 1, table
        assert intruder.tries(change + sql.SQL(" WHERE tenant_id = %s"), A, (B,)) == 0, table
        assert intruder.tries(change) == 0, table
        move = sql.SQL("UPDATE {} SET tenant_id = %s").format(name(table))
        assert intruder.tries(move, A, (B,)) == "refused", table
        assert intruder.tries(move, None, (B,)) == 0, table


def test_no_row_of_another_company_is_deleted(intruder, admin, filled):
    for table in walled(intruder, admin, "DELETE"):
        delete = sql.SQL("DELETE FROM {}").format(name(table))
        assert intruder.tries(delete, A) == 1, table
        assert intruder.tries(delete + sql.SQL(" WHERE tenant_id = %s"), A, (B,)) == 0, table
        assert intruder.tries(delete) == 0, table


def test_the_bus_takes_out_of_the_outbox_and_changes_nothing_in_it(postgres, filled):
    bus = Intruder(postgres, "daybook_bus")
    assert len(bus.tries("SELECT 1 FROM bus.outbox")) == 2
    assert bus.tries("UPDATE bus.outbox SET payload = ''") == "refused"
    assert bus.tries("DELETE FROM bus.outbox") == 2
    assert bus.tries("UPDATE bus.log SET payload = ''") == "refused", "append-only"
    bus.connection.close()


def test_the_wall_cannot_be_taken_down(intruder, admin):
    own = f"{intruder.role.removeprefix('daybook_')}.idempotency"
    for statement in (f"ALTER TABLE {own} DISABLE ROW LEVEL SECURITY", f"DROP POLICY tenant_wall ON {own}",
                      f"CREATE POLICY hole ON {own} USING (true)", f"TRUNCATE {own}", f"ALTER TABLE {own} OWNER TO "
                      f"{intruder.role}", f"ALTER ROLE {intruder.role} BYPASSRLS", f"DROP TABLE {own}"):
        assert intruder.tries(statement) == "refused", statement
    # With it off PostgreSQL refuses what the wall would have kept back, instead of giving it.
    intruder.connection.execute("SET LOCAL row_security = off")
    assert intruder.tries(f"SELECT FROM {own}") == "refused"


def test_no_table_is_without_a_wall_but_those_named(admin):
    plain, unforced = set(), set()
    for table, enabled, forced in admin.execute("""
            SELECT n.nspname || '.' || c.relname, c.relrowsecurity, c.relforcerowsecurity
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname || '.' || c.relname = ANY (%s)""", (tables(admin),)):
        plain |= set() if enabled else {table}
        unforced |= {table} if enabled and not forced else set()
    assert plain == LOG | PARKED
    assert unforced == NOT_FORCED


def test_each_wall_is_the_same(admin):
    """One policy a table, for all commands and roles, that compares with the company of the transaction."""
    walls = collections.Counter()
    for table, policy, kind, command, roles, using, check in admin.execute("""
            SELECT schemaname || '.' || tablename, policyname, permissive, cmd, roles::text[], qual, with_check
              FROM pg_policies"""):
        if (table, policy) not in OTHER_POLICIES:
            assert (kind, command, roles, using, check) == ("PERMISSIVE", "ALL", ["public"], WALL, None), table
            walls[table] += 1
    assert set(walls) == set(tables(admin)) - LOG - PARKED - {OUTBOX} and set(walls.values()) == {1}


def test_tables_without_a_company_hold_no_company_s_data(admin):
    assert set(tables(admin, with_tenant=False)) - set(tables(admin)) == {
        "bus.head", "bus.counted", "directory.revision", "reminders.shard_lease", "reminders.member",
        "gateway.shard_lease", "gateway.member", *(f"{d}.{t}" for d in DAEMONS
                                                   for t in ("consumer_cursor", "schema_version"))}


def test_whether_a_key_is_taken_cannot_be_felt_from_another_company(admin):
    across = column(admin, f"""
        SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid
          JOIN pg_namespace n ON n.oid = c.relnamespace
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
         WHERE x.indisunique AND {OURS} AND x.indkey[0] <> a.attnum""")
    assert set(across) == KEYS_ACROSS


# --- roles --------------------------------------------------------------------------------------------


def test_no_role_can_do_more_than_its_work(admin):
    for role, *attributes in admin.execute("""
            SELECT rolname, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolreplication, rolcanlogin
              FROM pg_roles WHERE rolname LIKE 'daybook%'"""):
        # The owner makes the daemons' roles; the one for what is common to them logs in nowhere.
        assert attributes == [False, False, False, role == OWNER, False, role != EVERY], role
    assert set(column(admin, "SELECT rolname FROM pg_roles WHERE rolname LIKE 'daybook%'")) == {OWNER, EVERY, *ROLES}
    members = admin.execute("""
        SELECT m.rolname, r.rolname, a.admin_option FROM pg_auth_members a
          JOIN pg_roles m ON m.oid = a.member JOIN pg_roles r ON r.oid = a.roleid
         WHERE m.rolname LIKE 'daybook%' OR r.rolname LIKE 'daybook%'""").fetchall()
    assert set(members) == {(OWNER, EVERY, True), *((role, EVERY, False) for role in ROLES)}


def test_no_role_becomes_another(intruder, admin):
    for role in column(admin, "SELECT rolname FROM pg_roles"):
        if role in (intruder.role, EVERY):
            continue
        for statement in (f"SET ROLE {role}", f"SET SESSION AUTHORIZATION {role}", f"GRANT {role} TO {intruder.role}"):
            assert intruder.tries(statement) == "refused", statement


def test_no_role_makes_objects(intruder, admin):
    own = intruder.role.removeprefix("daybook_")
    for schema in (own, "public", "directory_api", "bus"):
        assert intruder.tries(f"CREATE TABLE {schema}.mine ()") == "refused", schema
    for statement in ("CREATE TEMP TABLE mine ()", "CREATE SCHEMA mine", "CREATE ROLE mine", "CREATE DATABASE mine",
                      "CREATE EXTENSION pg_trgm", f"CREATE FUNCTION {own}.mine() RETURNS int LANGUAGE sql RETURN 1",
                      "COPY (SELECT 1) TO '/tmp/mine'", "COPY (SELECT 1) TO PROGRAM 'cat'",
                      "SELECT pg_read_file('/etc/passwd')"):
        if "DATABASE" in statement:
            intruder.connection.rollback()
            intruder.connection.autocommit = True
        assert intruder.tries(statement) == "refused", statement
        intruder.connection.autocommit = False
    owners = admin.execute(f"""
        SELECT DISTINCT relowner::regrole::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {OURS} UNION SELECT nspowner::regrole::text FROM pg_namespace n WHERE {OURS} AND nspname <> 'public'
         UNION SELECT datdba::regrole::text FROM pg_database WHERE datname = 'daybook'""").fetchall()
    assert owners == [(OWNER,)]


def test_a_role_reads_its_own_schema_and_what_is_published(intruder, admin):
    """Any privilege on any relation or column outside its own schema."""
    found = collections.defaultdict(set)
    for relation, privilege in admin.execute(f"""
            SELECT n.nspname || '.' || c.relname, p.name
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
                   unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p(name)
             WHERE {OURS} AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> %(own)s
               AND (has_table_privilege(%(role)s, c.oid, p.name)
                    OR p.name = ANY ('{{SELECT,INSERT,UPDATE,REFERENCES}}')
                       AND has_any_column_privilege(%(role)s, c.oid, p.name))""",
            {"role": intruder.role, "own": intruder.role.removeprefix("daybook_")}):
        found[relation].add(privilege)
    expected = {**FOREIGN, **FOREIGN_OF.get(intruder.role, {})}
    assert found == {relation: rights for relation, rights in expected.items()
                     if not relation.startswith(intruder.role.removeprefix("daybook_") + ".")}


def test_nobody_may_empty_a_table_past_the_walls(admin):
    """TRUNCATE asks no policy; a reference or a trigger would look at rows as somebody else."""
    assert admin.execute(f"""
        SELECT r.rolname, n.nspname, c.relname, p.name
          FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r,
               unnest(ARRAY['TRUNCATE', 'REFERENCES', 'TRIGGER']) p(name)
         WHERE {OURS} AND c.relkind IN ('r', 'p') AND r.rolname = ANY (%s)
           AND has_table_privilege(r.oid, c.oid, p.name)""", ([EVERY, *ROLES],)).fetchall() == []


def test_the_public_has_nothing(admin):
    """Outside PostgreSQL's own schemas: the use of the empty schema public, and functions that read no table."""
    assert admin.execute(f"""
        SELECT n.nspname, a.privilege_type FROM pg_namespace n, aclexplode(n.nspacl) a
         WHERE {OURS} AND a.grantee = 0""").fetchall() == [("public", "USAGE")]
    assert tables(admin, with_tenant=False) and not [t for t in tables(admin, False) if t.startswith("public.")]
    assert admin.execute(f"""
        SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
               aclexplode(c.relacl) a WHERE {OURS} AND a.grantee = 0""").fetchall() == []
    assert admin.execute("""SELECT a.privilege_type FROM pg_database d, aclexplode(d.datacl) a
                             WHERE d.datname = 'daybook' AND a.grantee = 0""").fetchall() == []
    functions = admin.execute(f"""
        SELECT n.nspname || '.' || p.proname, EXISTS (
               SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE {OURS} AND has_function_privilege('public', p.oid, 'EXECUTE')""").fetchall()
    assert {function for function, of_extension in functions if not of_extension} == PUBLIC_FUNCTIONS
    assert column(admin, "SELECT DISTINCT extname FROM pg_extension ORDER BY 1") == ["btree_gist", "plpgsql"]
    assert column(admin, "SELECT defaclobjtype FROM pg_default_acl") == []


def test_functions_and_views_with_the_owner_s_rights_are_those_named(admin):
    definers = admin.execute(f"""
        SELECT n.nspname || '.' || p.proname, coalesce(array_to_string(p.proconfig, ' '), '')
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {OURS} AND p.prosecdef""").fetchall()
    assert {function for function, _ in definers} == SECURITY_DEFINER
    assert all("search_path=" in settings for _, settings in definers)
    views = column(admin, f"""
        SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE {OURS} AND c.relkind IN ('v', 'm')
           AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false)""")
    assert set(views) == PUBLISHED | {"directory_api.api_key", "directory_api.calendar_feed"}
    assert not column(admin, f"SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
                             f"JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {OURS} AND NOT t.tgisinternal")


def test_no_published_view_has_a_secret(admin):
    """Hashes of secrets stand in the gateway's two views only."""
    assert set(column(admin, """SELECT DISTINCT table_schema || '.' || table_name FROM information_schema.columns
                                 WHERE table_schema = 'directory_api' AND column_name ~ 'secret|hash|sealed'""")) == {
        "directory_api.api_key", "directory_api.calendar_feed"}
