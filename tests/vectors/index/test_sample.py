"""The build of an index on a copy of some rows."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgvector_seed.postgres.connection import connect
from pgvector_seed.vectors.index.definition import IndexDefinition
from pgvector_seed.vectors.index.sample import build_on_sample
from tests.conftest import ask
from tests.vectors.helpers import define, insert, make_table
from tests.vectors.index.test_partitions import TABLES

pytestmark = pytest.mark.newest

LISTS = (
    "SELECT option_value FROM pg_class, pg_options_to_table(reloptions) WHERE relname = 'pgvector_seed_sample_index'"
)
COUNT = "SELECT count(*) FROM pg_temp.pgvector_seed_sample"


def sample(database: str, rows: int, definition: IndexDefinition) -> tuple[int, list[tuple[Any, ...]]]:
    """Return the rows of the copy, and the parameters of its index."""
    with connect(database) as connection, build_on_sample(connection, definition, rows) as copy:
        ((count,),) = connection.execute(COUNT).fetchall()
        assert copy.rows == count
        return count, connection.execute(LISTS).fetchall()


@pytest.mark.parametrize("rows", [10**12, 10**400], ids=["10^12", "10^400"])
def test_more_rows_than_the_table_has_are_all_rows(database: str, rows: int) -> None:
    make_table(database, 2500, dimensions=3)
    assert sample(database, rows, define(method="ivfflat")) == (2500, [("2",)])


def test_the_copy_has_the_lists_of_the_table(database: str) -> None:
    """Regression: a copy of 500 rows had one list, in which every search finds all."""
    make_table(database, 5000, dimensions=3)
    assert sample(database, 500, define(method="ivfflat")) == (500, [("5",)])
    assert sample(database, 500, define(method="ivfflat", parameters={"lists": 7})) == (500, [("7",)])


def test_the_rows_of_a_partitioned_table_are_estimated_by_its_leaves(database: str) -> None:
    """Regression: a table whose rows were estimated as none was copied from its start."""
    ask(database, TABLES)
    insert(database, 1, 9000)
    with connect(database) as connection, build_on_sample(connection, define(), 500) as copy:
        assert copy.rows == 500
    assert sample(database, 500, define(method="ivfflat"))[1] == [("9",)]


def test_the_limits_of_the_session_do_not_end_the_build(database: str) -> None:
    make_table(database, 5000, dimensions=64)
    impatient = make_conninfo(database, options="-c statement_timeout=100")
    assert sample(impatient, 5000, define(parameters={"ef_construction": 400}))[0] == 5000


def test_a_lost_connection_keeps_the_first_error(database: str) -> None:
    """Regression: the error of the DROP TABLE came instead, as a traceback."""
    make_table(database, 10)

    def fail() -> None:
        with connect(database) as connection, build_on_sample(connection, define(), 10):
            ask(database, f"SELECT pg_terminate_backend({connection.info.backend_pid})")
            with pytest.raises(psycopg.Error):
                connection.execute("SELECT 1")
            raise LookupError("the first")

    with pytest.raises(LookupError, match="the first"):
        fail()
