"""``--try-writes``: the writer's plain write, which leaves nothing behind."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import pytest
from psycopg.conninfo import make_conninfo

from local.workspace import ROOT
from seed.verify.model import Status
from tests.conftest import Process, ask, pg_variables, until
from tests.verify.helpers import CONTRACT, declared, results, run_sql, with_status
from tests.verify.own_faults import (
    BY_LABEL,
    BY_LABEL_CONTRACT,
    GRANTS,
    PARTED_CONTRACT,
    PARTITIONED,
    ROWS,
    TOUCHED,
)
from tests.verify.test_command import FILE, run

pytestmark = pytest.mark.newest

TRIGGER = """
CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {1} END $$;
CREATE TRIGGER acts {0} ON items FOR EACH ROW EXECUTE FUNCTION act();
"""
BY_UUID = (
    "CREATE TABLE by_uuid (id uuid PRIMARY KEY, label text NOT NULL, embedding vector(32)); "
    "INSERT INTO by_uuid SELECT gen_random_uuid(), label, embedding FROM items LIMIT 100;" + GRANTS.format("by_uuid")
)
GENERATED = (
    "ALTER TABLE items ADD size float8 GENERATED ALWAYS AS (vector_norm(embedding)) STORED, "
    "ADD number int GENERATED ALWAYS AS IDENTITY UNIQUE, ADD key uuid DEFAULT gen_random_uuid() UNIQUE; "
)


class Case(NamedTuple):
    """SQL for a clone of the base, the end of the message of roles, and the entries of the contract that differ."""

    sql: str
    message: str
    table: Mapping[str, object] = MappingProxyType({})


FAULTS = {
    "swallowed insert": Case(TRIGGER.format("BEFORE INSERT", "RETURN NULL;"), "an INSERT of items_writer adds no row"),
    "deleted again": Case(
        TRIGGER.format("AFTER INSERT", "DELETE FROM items WHERE id = NEW.id; RETURN NULL;"),
        "an INSERT of items_writer leaves no row with its id and vector",
    ),
    "another vector": Case(
        TRIGGER.format("BEFORE INSERT", "NEW.embedding := (SELECT embedding FROM items LIMIT 1 OFFSET 9); RETURN NEW;"),
        "an INSERT of items_writer leaves no row with its id and vector",
    ),
    "swallowed update": Case(
        TRIGGER.format("BEFORE UPDATE", "RETURN OLD;"), "an UPDATE of items_writer leaves no row with its vector"
    ),
    "kept": Case(TRIGGER.format("BEFORE DELETE", "RETURN NULL;"), "a DELETE of items_writer leaves the row"),
    "refused at the commit": Case(
        "CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'never'; END $$; "
        "CREATE CONSTRAINT TRIGGER acts AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION act()",
        "a write of items_writer fails: never",
    ),
    "hidden": Case(
        ROWS.format("label <> 'topic 1' OR current_setting('app.open', true) = '1'")
        + "CREATE POLICY w ON items FOR INSERT TO items_writer WITH CHECK (id < 0);"
        + "CREATE POLICY r ON items AS RESTRICTIVE FOR INSERT WITH CHECK (id < 0)",
        'a write of items_writer fails: new row violates row-level security policy "r" for table "items"',
    ),
}
HEALTHY = {
    "base": Case("", "as declared"),
    "touched": Case(TOUCHED, "as declared"),
    "normalized": Case(
        "UPDATE items SET embedding = l2_normalize(embedding);"
        + TRIGGER.format("BEFORE INSERT OR UPDATE", "NEW.embedding := l2_normalize(NEW.embedding); RETURN NEW;"),
        "as declared",
    ),
    "partitions": Case(PARTITIONED, "as declared", PARTED_CONTRACT),
    "partitions by another column": Case(BY_LABEL, "as declared", BY_LABEL_CONTRACT),
    "uuid": Case(BY_UUID, "as declared", {"name": "public.by_uuid"}),
    "generated columns": Case(GENERATED, "as declared"),
    "quoted names": Case(
        'ALTER TABLE items RENAME id TO "the %s id"; ALTER TABLE items RENAME embedding TO "an ""embedding"""',
        "as declared",
        {"id": "the %s id", "vector": 'an "embedding"'},
    ),
    "unique column": Case(
        "ALTER TABLE items ADD name text UNIQUE",
        "as declared; the write of items_writer was not tried: public.items_name_key allows no copy of a row",
    ),
    "ids by the application": Case(
        "ALTER TABLE items ALTER id DROP IDENTITY; ALTER TABLE items ALTER id TYPE text",
        "as declared; the write of items_writer was not tried: the table generates no id, whose type is text",
    ),
    "no rows": Case(
        "TRUNCATE items", "as declared; the write of items_writer was not tried: items_writer sees no row to copy"
    ),
    "a check": Case(
        "ALTER TABLE items ADD CONSTRAINT few CHECK (id <= 5000)",
        'as declared; the write of items_writer was not tried: new row for relation "items" violates check constraint '
        '"few"',
    ),
}


@pytest.fixture
def writer(base: str) -> str:
    """Return the conninfo of the writer on the base."""
    ask(base, "ALTER ROLE items_writer PASSWORD 'writes'")
    return make_conninfo(base, user="items_writer", password="writes")


@pytest.mark.parametrize("case", FAULTS.values(), ids=FAULTS)
def test_a_write_that_does_not_do_what_it_says(base: str, writer: str, case: Case) -> None:
    """Roles fails, and says which statement, and the table is as before."""
    run_sql(base, case.sql)
    outcomes = results(writer, CONTRACT, "roles", try_writes=True)
    assert with_status(outcomes, Status.FAIL) == {"roles": case.message}
    assert ask(base, "SELECT count(*), max(id) FROM items") == [(5000, 5000)]
    assert with_status(results(writer, CONTRACT, "roles"), Status.FAIL) == {}, "without the option it is only told"


@pytest.mark.parametrize("case", HEALTHY.values(), ids=HEALTHY)
def test_a_write_that_is_sound(base: str, writer: str, case: Case) -> None:
    """Roles passes, or says why the write was not tried."""
    run_sql(base, case.sql)
    contract = declared(case.table)
    outcomes = results(writer, contract, "roles", try_writes=True)
    assert {result.outcome.message.partition("; the reader's")[0] for result in outcomes} == {case.message}


def test_only_the_writer_may_try(base: str, writer: str) -> None:
    """Another login is refused before anything is run: a trigger has the rights of the session."""
    run_sql(base, TRIGGER.format("BEFORE INSERT", "RAISE EXCEPTION 'caught %', session_user;"))
    refused = run(base, "--contract", FILE, "--try-writes")
    assert (refused.returncode, "caught" in refused.stdout) == (2, False)
    assert "needs the login of the writer, items_writer" in refused.stdout
    acting = make_conninfo(base, options="-c role=items_writer")
    assert run(acting, "--contract", FILE, "--try-writes").returncode == 2
    contract = json.dumps(declared(roles={"reader": "items_reader"}))
    assert run(writer, "--contract", "-", "--try-writes", stdin=contract).returncode == 2
    assert run(writer, "--contract", FILE, "--try-writes", "--only", "rows").returncode == 2
    done = run(writer, "--contract", FILE, "--try-writes", "--only", "roles")
    assert (done.returncode, "caught items_writer" in done.stdout) == (1, True)


def test_a_killed_trial_keeps_no_lock(base: str, writer: str) -> None:
    """Regression: after kill -9 the server went on with a slow trigger, and kept the locks until its end."""
    run_sql(base, TRIGGER.format("BEFORE DELETE", "PERFORM pg_sleep(600); RETURN old;"))
    words = [sys.executable, "-m", "seed", "verify", "--contract", FILE, "--try-writes", "--time-limit", "600"]
    waiting = (
        "SELECT wait_event FROM pg_stat_activity WHERE usename = 'items_writer' AND datname = current_database() "
        "AND query LIKE 'DELETE%'"
    )
    with Process(words, cwd=ROOT, env={**os.environ, **pg_variables(writer)}) as process:
        until(lambda: ask(base, waiting) == [("PgSleep",)])
        process.kill()
    until(lambda: ask(base, waiting) == [], seconds=20)
    assert ask(base, "SELECT count(*) FROM items") == [(5000,)]
