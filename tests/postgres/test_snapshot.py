"""The system catalogs are queried in one snapshot, by the operators of pg_catalog alone, and nothing stays behind."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.snapshot import query_catalog

ODD = "it's \\ %s \" ; -- $1 é"


def test_rows_and_parameters(database: str) -> None:
    with connect(database) as connection:
        rows = query_catalog(connection, "SELECT %s, current_setting('search_path'), 7 %% 4  -- a comment", (ODD,))
        assert rows == [(ODD, "pg_catalog, pg_temp", 3)]
        assert query_catalog(connection, "SELECT 1 WHERE false") == []
        assert connection.info.transaction_status == TransactionStatus.IDLE


def test_inside_of_a_transaction_the_search_path_comes_back(database: str) -> None:
    with connect(database) as connection, connection.transaction():
        connection.execute("SET LOCAL search_path TO public")
        assert query_catalog(connection, "SHOW search_path") == [("pg_catalog, pg_temp",)]
        assert connection.execute("SHOW search_path").fetchone() == ("public",)


@pytest.mark.parametrize("inside", [False, True])
def test_after_an_error_the_connection_can_be_used(database: str, *, inside: bool) -> None:
    with connect(database) as connection:
        if inside:
            connection.execute("BEGIN")
        status = connection.info.transaction_status
        with pytest.raises(psycopg.errors.DivisionByZero):
            query_catalog(connection, "SELECT 1 / %s", (0,))
        assert connection.info.transaction_status == status
