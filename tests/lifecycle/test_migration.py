"""F55: migrators that are killed at any moment, and several at once, leave what one leaves that nobody disturbed.
Old daemons on a new schema, and new ones on an old: test_upgrade.py. Step by step: common_migrate_test.c."""

import os
import pathlib
import random
import subprocess
import time

SEED, KILLS = 55, 12


def program(name):
    return sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[-1]


def migrator(stack, database):
    return subprocess.Popen([stack.bin / "daybook", "migrate"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, env={**os.environ, **stack.env,
                                            "DAYBOOK_MIGRATE_URL": stack.conninfo(database=database)})


def until_done(process):
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said


def shape(stack, database):
    """All that the catalogue knows; without the moments, and the tokens that pg_dump makes up."""
    dump = subprocess.run([program("pg_dump"), "--schema-only", "-d", stack.conninfo(database=database)],
                          text=True, capture_output=True, check=True).stdout
    lines = [line for line in dump.splitlines() if not line.startswith("\\")]
    for schema in ("bus", "customers", "directory", "gateway", "reminders", "scoring", "visits"):
        lines += stack.psql(f"select '{schema}', component, version, name from {schema}.schema_version order by 2, 3",
                            database=database).splitlines()
    return lines


def test_f55_killed_and_doubled_migrators_end_as_one_does(pair):
    stack, rng = pair.stack, random.Random(SEED)
    for database in ("plain", "disturbed"):
        stack.psql(f"create database {database}")
    began = time.monotonic()
    until_done(migrator(stack, "plain"))
    whole = time.monotonic() - began
    for _ in range(KILLS):
        one = migrator(stack, "disturbed")
        time.sleep(rng.uniform(0, whole))  # the moment is what is tried
        one.kill()
        one.communicate()
        if rng.random() < 0.5:  # its session may go on without it, or not
            stack.psql("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'disturbed'")
    together = [migrator(stack, "disturbed") for _ in range(3)]
    for one in together:
        until_done(one)
    assert shape(stack, "disturbed") == shape(stack, "plain")
    for database in ("plain", "disturbed"):
        stack.psql(f"drop database {database} with (force)")
