"""A role with rights in the database tries to abuse the one who verifies, here a superuser."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from local.server import HOST
from seed.verify.model import Status
from tests.conftest import ask, declare, pg_variables
from tests.migrate.helpers import run as apply
from tests.migrate.helpers import write
from tests.thief import thief
from tests.verify.helpers import CONTRACT, declared, results, run_sql, with_status
from tests.verify.own_faults import ROWS
from tests.verify.test_command import FILE, run

# Reports that it ran, and the session's role: it resets any role that was set.
TRAP = """
CREATE FUNCTION trap() RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('role', 'none', true);
  RAISE EXCEPTION 'caught %', current_user;
END $$
"""
OPERATORS = """
CREATE FUNCTION eq_{0}(oid, {0}) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN trap(); END $$;
CREATE OPERATOR = (LEFTARG = oid, RIGHTARG = {0}, FUNCTION = eq_{0});
"""
NAMES = """
CREATE FUNCTION eq_name(name, name) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN trap(); END $$;
CREATE OPERATOR = (LEFTARG = name, RIGHTARG = name, FUNCTION = eq_name);
"""


def planted(conninfo: str, text: str) -> None:
    """Run SQL as items_owner, who may create objects in the schema."""
    run_sql(conninfo, "SET ROLE items_owner;" + TRAP + ";" + text)


@pytest.mark.parametrize("words", [[], ["--table", "public.items"], ["--contract", FILE]])
def test_operators_in_the_schema_are_not_used(base: str, words: list[str], folder: Path) -> None:
    """Another role's operator that fits a catalog query better than PostgreSQL's own is not run."""
    planted(base, OPERATORS.format("regclass") + OPERATORS.format("regnamespace") + OPERATORS.format("regtype"))
    if not words:
        write(folder, a1_up="CREATE TABLE more (id int)")
        apply(base, folder, declare())
    done = run(base, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "caught" not in done.stdout + done.stderr


def test_operators_before_the_catalogue_are_not_used(base: str) -> None:
    """Names are looked up in pg_catalog first, even if the login's search_path names it later."""
    run_sql(base, "CREATE SCHEMA evil; GRANT CREATE, USAGE ON SCHEMA evil TO items_owner, items_reader")
    planted(base, "SET search_path = evil, pg_catalog, public;" + NAMES.replace("trap()", "public.trap()"))
    name = ask(base, "SELECT quote_ident(current_database())")[0][0]
    ask(base, f"ALTER DATABASE {name} SET search_path = evil, pg_catalog, public")
    for words in (["--table", "items"], ["--contract", FILE], []):
        assert "caught" not in str(run(base, *words))


POLICY = "ALTER TABLE items ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON items USING (trap())"
QUIET = "CREATE OR REPLACE FUNCTION quiet() RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN {0}; RETURN 1; END $$;"
INDEX = (
    QUIET.format("NULL")
    + "CREATE INDEX i ON items ((length(label) + quiet()));"
    + QUIET.format("RAISE EXCEPTION 'caught'")
)

# A cast to another type of a column's type, which the comparisons of the declared keys would use.
CASTS = """
CREATE TYPE kind AS ENUM ('small');
CREATE FUNCTION as_text(kind) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
CREATE FUNCTION as_time(kind) RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
CREATE CAST (kind AS text) WITH FUNCTION as_text(kind);
CREATE CAST (kind AS timestamptz) WITH FUNCTION as_time(kind) AS IMPLICIT;
ALTER TABLE items ADD kind kind DEFAULT 'small', ADD at timestamptz DEFAULT now()
"""
BY_CASTS = {"model": {"name": "small", "column": "kind"}, "fresh": {"embedded": "kind", "updated": "at"}}


@pytest.mark.parametrize("fence", [POLICY, INDEX, CASTS], ids=["policy", "index", "casts"])
def test_code_of_the_tables_owner_is_not_run_as_a_superuser(base: str, fence: str) -> None:
    """Functions of a policy, an index or a cast do not run with the superuser's rights.

    A policy's function can reset the reader's role, and the planner evaluates immutable functions.
    """
    planted(base, fence)
    outcomes = results(base, declared(BY_CASTS if fence == CASTS else None))
    assert "caught" not in str(outcomes)
    skipped = with_status(outcomes, Status.SKIP)
    assert {"plan", "recall"} <= skipped.keys()
    assert "connect as" in skipped["recall"]


IMMUTABLE = "CREATE FUNCTION never() RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN trap(); END $$;"
FUNCTIONS = {
    "their own": IMMUTABLE + ROWS.format("never()"),
    "their own operator": "CREATE FUNCTION no(int, int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS $$ "
    "BEGIN RETURN trap(); END $$; CREATE OPERATOR <<>> (LEFTARG = int, RIGHTARG = int, FUNCTION = no);"
    + ROWS.format("1 <<>> 0"),
    "volatile": ROWS.format("pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())"),
    "of a query": ROWS.format("(SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid()))"),
    "of their own constant": "CREATE DOMAIN odd AS int CHECK (trap()); " + ROWS.format("NULL::odd IS NOT NULL"),
}


@pytest.mark.newest
@pytest.mark.parametrize("policy", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_policy_is_judged_without_running_it(base: str, policy: str) -> None:
    """A policy that is no constant runs nothing with the rights of the login, and is told as undecided."""
    planted(base, policy)
    outcomes = results(base)
    assert with_status(outcomes, Status.FAIL) == {}
    assert "caught" not in str(outcomes)
    assert "undecided: the policy p" in with_status(outcomes, Status.PASS)["roles"]


def test_a_type_that_is_only_named_like_a_number(base: str) -> None:
    """A user-defined type called int8, with its maker's casts, is not treated as a number."""
    run_sql(
        base,
        "CREATE SCHEMA odd; CREATE TYPE odd.int8 AS ENUM ('1'); ALTER TABLE items ALTER id DROP IDENTITY; "
        "CREATE TABLE other (id odd.int8 PRIMARY KEY, embedding vector(32))",
    )
    table = {"name": "public.other", "indexes": None, "recall": None, "owner": None, "rows": None}
    outcomes = results(base, declared(table, roles=None), "sequence")
    assert with_status(outcomes, Status.PASS) == {"sequence": "the ids come from no sequence"}


@pytest.mark.parametrize("sslmode", ["disable", "prefer", None])
@pytest.mark.parametrize("host", [HOST, "0.0.0.0"])  # noqa: S104  # by its name no loopback address, and leads there
def test_a_contract_from_somebody_else_gets_no_password(base: str, host: str, sslmode: str | None) -> None:
    """The password in the environment is not sent in clear to the contract's address."""
    login = {name: value for name, value in pg_variables(base).items() if name in ("PGUSER", "PGPASSWORD")}
    with thief() as its:
        connection = {"host": host, "port": its.port} | ({"sslmode": sslmode} if sslmode else {})
        done = run("", "--contract", "-", stdin=json.dumps(declared(connection=connection)), **login)
    assert done.returncode == 3
    assert (its.asked, its.heard) == (1, [])


def test_text_of_others_forges_no_line(base: str) -> None:
    """A table's name prints neither a workflow's ``::`` command nor a terminal's escape sequence."""
    name = "a.b.c\n::error title=x::forged\n\x1b]0;owned\x07"
    done = run(base, "--contract", "-", "--format", "json", stdin=json.dumps(declared({"name": name})))
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert not [line for line in (done.stderr + done.stdout).splitlines() if line.lstrip().startswith("::")]


def test_a_hanging_pulumi_is_ended_with_what_it_started(base: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bin")
    mark = f"6{folder.stat().st_ino}"
    (folder / "pulumi").write_text(f"#!/bin/sh\ntrap '' TERM\nsleep {mark} &\nsleep {mark}\n")
    (folder / "pulumi").chmod(0o755)
    done = run(base, "--stack", "dev", "--time-limit", "1", PATH=f"{folder}:{os.environ['PATH']}")
    assert done.returncode == 3
    assert "pulumi did not answer within 1 s" in done.stdout
    survivors = subprocess.run(["pgrep", "-f", f"sleep {mark}"], capture_output=True, check=False)
    assert survivors.stdout == b""


def test_the_login_needs_no_more_than_to_connect(base: str) -> None:
    """A login without any right finds the same faults."""
    ask(base, "CREATE ROLE nobody_special LOGIN PASSWORD 'x'; DROP INDEX items_embedding_hnsw")
    try:
        outcomes = results(make_conninfo(base, user="nobody_special", password="x"))
    finally:
        ask(base, "DROP ROLE nobody_special")
    assert with_status(outcomes, Status.FAIL).keys() == {"index"}


@pytest.mark.newest
def test_a_right_of_all_on_a_schema_of_the_path_is_told_once(base: str) -> None:
    """Regression: each role was named, too, with a REVOKE that changed nothing."""
    run_sql(base, "CREATE SCHEMA items_reader; GRANT USAGE, CREATE ON SCHEMA items_reader TO PUBLIC")
    (message,) = with_status(results(base, CONTRACT, "roles"), Status.FAIL).values()
    assert message.startswith("PUBLIC may create in the schema")
    assert ";" not in message
