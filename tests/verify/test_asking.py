"""The reader's plain query, asked as the reader or not at all, and with no more rights than are needed."""

from __future__ import annotations

import pytest
from psycopg.conninfo import make_conninfo

from seed.verify.model import Status
from tests.conftest import ask
from tests.verify.helpers import CONTRACT, declared, failing, results, run_sql, with_status
from tests.verify.own_faults import HERE, HERE_READER, NEVER, ROWS, SHADOWS, WITHOUT_INDEX
from tests.verify.test_hostile import TRAP, planted

pytestmark = pytest.mark.newest

# What pgvector's operator runs for everybody, after a role was given its function.
REPLACED = """
CREATE OR REPLACE FUNCTION cosine_distance(vector, vector) RETURNS float8 IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN PERFORM trap(); RETURN 1; END $$;
"""
SHADOW = (
    SHADOWS
    + TRAP
    + """;
GRANT CREATE ON SCHEMA items_reader TO items_owner;
CREATE FUNCTION items_reader.near(vector, vector) RETURNS float8 LANGUAGE plpgsql AS $$
BEGIN PERFORM public.trap(); RETURN 1; END $$;
CREATE OPERATOR items_reader.<=> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = items_reader.near);
"""
)


@pytest.fixture
def reader(base: str) -> str:
    """Return the conninfo of the reader on the base."""
    ask(base, "ALTER ROLE items_reader PASSWORD 'reads'")
    return make_conninfo(base, user="items_reader", password="reads")


def roles(conninfo: str) -> str:
    """Return the message of the check roles, which passes."""
    return with_status(results(conninfo, CONTRACT, "roles"), Status.PASS)["roles"]


def test_the_reader_gets_its_answer(base: str, reader: str) -> None:
    """The query is asked by the reader, and by a superuser that becomes the reader."""
    assert (roles(base), roles(reader)) == ("as declared", "as declared")


def test_the_timeout_is_the_readers(base: str, reader: str) -> None:
    """The statement_timeout of the reader counts, whoever asks, and not that of another login."""
    run_sql(base, HERE.format("SET statement_timeout = ''20s''") + WITHOUT_INDEX)
    run_sql(base, HERE_READER.format("SET statement_timeout = ''1ms''"))
    many = declared({"recall": {"k": 2000, "minimum": 0.5}, "indexes": None})
    message = "the query of items_reader reaches its statement_timeout of 1 ms"
    assert failing(base, many, "roles") == {"roles": message}
    run_sql(base, HERE_READER.format("RESET statement_timeout"))
    assert failing(base, many, "roles") == failing(reader, many, "roles") == {}


def test_nothing_is_run_after_a_shadowed_name(base: str, reader: str) -> None:
    """An operator that the reader's path finds first is not run, by no login."""
    run_sql(base, SHADOW)
    for login in (base, reader):
        outcomes = results(login)
        assert with_status(outcomes, Status.FAIL).keys() == {"extension"}
        assert "caught" not in str(outcomes)
    assert "was not asked: it finds the operator items_reader.<=>(" in roles(reader)


def test_no_row_by_a_function(base: str, reader: str) -> None:
    """A policy that cannot be decided, and shows the reader no row, is told and does not fail."""
    run_sql(base, NEVER + ROWS.format("never()"))
    assert "was not asked: connect as items_reader" in roles(base)
    assert "row security shows items_reader no row" in roles(reader)


def test_another_login_runs_no_code_of_the_owner(base: str) -> None:
    """Functions in an index keep the superuser from asking, whoever owns them."""
    planted(base, "CREATE INDEX i ON items ((length(label))) WHERE id > 0")
    assert roles(base) == "as declared"
    run_sql(base, "CREATE FUNCTION one(int) RETURNS int IMMUTABLE LANGUAGE sql RETURN 1")
    run_sql(base, "CREATE INDEX j ON items (one(length(label)))")
    assert "it could run the function public.one(integer) with this login's rights" in roles(base)


def test_a_function_of_pgvector_that_was_replaced(base: str) -> None:
    """A role that owns the function behind the operator gets nothing run with the superuser's rights."""
    run_sql(base, "ALTER FUNCTION cosine_distance(vector, vector) OWNER TO items_owner")
    planted(base, REPLACED)
    outcomes = results(base)
    assert "caught" not in str(outcomes)
    assert with_status(outcomes, Status.FAIL) == {}
    skips = with_status(outcomes, Status.SKIP)
    assert {"vectors", "plan", "recall"} <= skips.keys()
    run_sql(base, "ALTER FUNCTION cosine_distance(vector, vector) OWNER TO CURRENT_USER")
    assert "it could run the function public.cosine_distance(" in roles(base)


def test_an_index_that_answers_nothing(base: str, reader: str) -> None:
    """An index without the rows fails roles, by the answer of an exact search."""
    ready = "UPDATE pg_index SET indisready = {} WHERE indexrelid = 'items_embedding_hnsw'::regclass;"
    run_sql(base, "CREATE TABLE kept AS SELECT * FROM items; TRUNCATE items;" + ready.format("false"))
    run_sql(base, "INSERT INTO items SELECT * FROM kept;" + ready.format("true") + "ANALYZE items")
    for login in (base, reader):
        message = failing(login, CONTRACT, "roles")["roles"]
        assert message == "the query of items_reader returns no row, an exact search 10"
