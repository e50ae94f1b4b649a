"""A migration's text: its statements, and those that are refused before a server sees them."""

from __future__ import annotations

import pytest

from pgvector_seed.common.errors import InputError
from pgvector_seed.migrate.concurrently import built_index, dropped_index
from pgvector_seed.migrate.files import Migration
from pgvector_seed.migrate.scanner import split
from pgvector_seed.migrate.script import file_texts, parse, refuse_faults
from tests.migrate.helpers import MARK


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *(
            (
                f"SELECT 1;\n {control};",
                f"line 2: {control.split()[0].upper()}: a migration cannot control its transaction",
            )
            for control in (
                "BEGIN",
                "begin work",
                "START TRANSACTION",
                "COMMIT",
                "COMMIT PREPARED 'x'",
                "END",
                "ROLLBACK TO a",
                "ABORT",
                "SAVEPOINT a",
                "RELEASE a",
                "PREPARE TRANSACTION 'x'",
            )
        ),
        ("/* a */ COMMIT", "line 1: COMMIT"),
        ("BEGIN/**/WORK", "line 1: BEGIN"),
        ("COPY t FROM STDIN", "write INSERT instead"),
        ("-- nothing", "no statement in it"),
        ("SELECT 'a", "never closed"),
        ("-- pgvector-seed: no-transactions\nSELECT 1", "no-transactions is unknown"),
        (MARK + "VACUUM; VACUUM", "is for one statement; got 2"),
        (MARK + "CREATE INDEX CONCURRENTLY ON t (a)", "the index needs a plain name and table"),
        (MARK + "COMMIT", "cannot control its transaction"),
        (MARK + "INSERT INTO t VALUES (1)", "for no other statement is it certain after an interruption"),
        (MARK + "CREATE INDEX i ON t (a)", "for no other statement"),
        (MARK + 'CREATE INDEX CONCURRENTLY U&"i" ON t (a)', "the index needs a plain name and table"),
        (MARK + "CREATE INDEX CONCURRENTLY i ON a* (id)", "the index needs a plain name and table"),
        ("SET TRANSACTION READ ONLY", "a migration cannot control its transaction"),
        ("SET SESSION AUTHORIZATION x", "use SET ROLE"),
        ("SET client_encoding TO latin1", "the files are UTF-8"),
        ("SET NAMES 'latin1'", "the files are UTF-8"),
    ],
)
def test_a_text_that_is_refused(text: str, words: str) -> None:
    """A refused text stops an up or a down before any statement runs."""
    for migration in (Migration("0001_a", text, None), Migration("0001_a", "SELECT 1", text)):
        with pytest.raises(InputError) as caught:
            refuse_faults(file_texts([migration]))
        assert words in str(caught.value)
        assert str(caught.value).startswith("0001_a.up.sql" if migration.down is None else "0001_a.down.sql")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 'COMMIT;'",
        "DO $$ BEGIN PERFORM 1; END $$",
        "PREPARE a AS SELECT 1",
        "COPY t TO PROGRAM 'x'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
        "SELECT '\n-- pgvector-seed: nonsense\n'",
        MARK + "VACUUM;",
        "SET search_path TO names, public; SET my.authorization = 'x'; COPY stdin TO '/dev/null'",
        MARK + "ALTER SYSTEM SET work_mem = '1MB'",
        MARK + "CREATE INDEX CONCURRENTLY ٣€ ON t٣ (a)",
        "SET client_encoding = 'UTF8'; SET client_encoding TO utf_8; SET NAMES 'utf-8'".replace("utf_8", "utf8"),
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT 2 AS case; END",
    ],
)
def test_a_text_that_is_not(text: str) -> None:
    refuse_faults(file_texts([Migration("0001_a", text, text)]))


def test_the_mark_is_a_comment_and_nothing_else() -> None:
    assert not parse(MARK + "VACUUM").in_transaction
    assert not parse("--pgvector-seed:  no-transaction  \r\nVACUUM").in_transaction
    assert parse(f"SELECT '\n{MARK}'").in_transaction


@pytest.mark.parametrize(
    ("text", "name", "table"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "i", "t"),
        ('create unique index concurrently if not exists "I" on only "s"."T" using hnsw (a)', '"I"', '"s"."T"'),
        ("CREATE INDEX CONCURRENTLY ON t (a)", "", "t"),
        ("CREATE INDEX CONCURRENTLY ٣€ ON t٣ (a)", "٣€", "t٣"),
    ],
)
def test_the_index_that_is_built(text: str, name: str, table: str) -> None:
    index = built_index(split(text)[0])
    assert index is not None
    assert (index.name, index.table) == (name, table)


def test_the_index_that_is_dropped() -> None:
    index = dropped_index(split('DROP INDEX CONCURRENTLY IF EXISTS "S".i CASCADE')[0])
    assert index is not None
    assert index.name == '"S".i'


@pytest.mark.parametrize("text", ["CREATE INDEX i ON t (a)", "DROP INDEX i", "VACUUM", "CREATE INDEX CONCURRENTLY"])
def test_other_statements(text: str) -> None:
    statement = split(text)[0]
    assert dropped_index(statement) is None
    index = built_index(statement)
    assert index is None or not index.name
