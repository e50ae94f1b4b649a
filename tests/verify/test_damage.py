"""A damaged relation is named by its own check, and the checks that meet the damage are skipped after it."""

from __future__ import annotations

from typing import Any

import pytest

from local.server import Server
from seed.verify.damage import _damaged, _Relation
from seed.verify.model import Status
from tests.conftest import ask
from tests.verify.helpers import CONTRACT, declared, failing, remedies, results, run_sql, with_status
from tests.verify.own_faults import PARTED_CONTRACT, PARTITIONED

pytestmark = pytest.mark.newest

READERS = {"column", "rows", "vectors", "sequence", "plan", "recall", "statistics"}


def lose(server: Server, conninfo: str, relation: str) -> None:
    """Delete the file of a relation, as a damaged disk or an incomplete copy of the server's data does."""
    ask(conninfo, "CHECKPOINT")
    ((path,),) = ask(conninfo, f"SELECT pg_relation_filepath('{relation}')")
    (server.data / path).unlink()


@pytest.mark.parametrize(
    ("relation", "check", "skipped"),
    [
        ("items_embedding_hnsw", "index", READERS),
        ("items_pkey", "index", READERS),
        ("items", "table", READERS),
        ("items_id_seq", "sequence", set()),
    ],
)
def test_a_lost_file_is_named_once(server: Server, base: str, relation: str, check: str, skipped: set[str]) -> None:
    """Regression: each check that reads the table failed, and not the one of the relation."""
    lose(server, base, relation)
    outcomes = results(base)
    failures = with_status(outcomes, Status.FAIL)
    assert failures.keys() == {check}
    assert failures[check].startswith(f"public.{relation} cannot be read: could not open file")
    assert with_status(outcomes, Status.SKIP) == dict.fromkeys(skipped, f"after {check}, which failed")
    if check == "index":
        run_sql(base, remedies(outcomes))
        assert failing(base) == {}, "what it says to type fixes it"


def test_the_check_of_the_indexes_finds_a_lost_file_by_itself(server: Server, base: str) -> None:
    """Regression: only the checks that read the table met the lost file."""
    lose(server, base, "items_pkey")
    assert failing(base, CONTRACT, "index")["index"].startswith("public.items_pkey cannot be read: could not open file")


def test_a_check_that_is_made_alone_names_the_relation_itself(server: Server, base: str) -> None:
    """Without the check index in the report, its failure would be lost."""
    lose(server, base, "items_embedding_hnsw")
    assert failing(base, CONTRACT, "rows")["rows"].startswith("public.items_embedding_hnsw cannot be read")
    outcomes = results(base, CONTRACT, "index", "statistics")
    assert with_status(outcomes, Status.FAIL).keys() == {"index"}, "index is made first"


def test_other_faults_of_the_index_are_told_beside_it(server: Server, base: str) -> None:
    lose(server, base, "items_embedding_hnsw")
    index = {**CONTRACT["tables"][0]["indexes"][0], "parameters": {"m": 8}}
    (message,) = failing(base, declared({"indexes": [index]})).values()
    assert message.startswith("public.items_embedding_hnsw has m = 16; public.items_embedding_hnsw cannot be read: ")
    assert message.count("cannot be read") == 1


def test_the_lost_index_of_a_partition_is_named(server: Server, base: str) -> None:
    run_sql(base, PARTITIONED)
    lose(server, base, "parted_1_embedding_idx")
    table: dict[str, Any] = PARTED_CONTRACT
    assert failing(base, declared(table))["index"].startswith("public.parted_1_embedding_idx cannot be read: ")


RELATIONS = [
    _Relation("r", "public.items", "items", 16),
    _Relation("i", "public.items_pkey", "items_pkey", 17),
    _Relation("i", "public.block", "block", 18),
    _Relation("t", "pg_toast.pg_toast_16", "pg_toast_16", 19),
]


@pytest.mark.parametrize(
    ("message", "file", "name"),
    [
        ('could not read blocks 0..0 in file "base/5/17.1": read only 0 of 8192 bytes', 17, "items_pkey"),
        ('could not open file "base/5/99": No such file or directory', 99, None),
        ('index "items_pkey" contains unexpected zero page at block 0', None, "items_pkey"),
        ("Index »items_pkey« enthält unerwartete Nullseite bei Block 0", None, "items_pkey"),
        ("missing chunk number 0 for toast value 1 in pg_toast_16", None, "pg_toast_16"),
        ("invalid page in block 0 of items", None, None),
        ('index "other" is corrupted at block 3', None, None),
    ],
)
def test_the_relation_that_a_message_names(message: str, file: int | None, name: str | None) -> None:
    relation = _damaged(message, file, RELATIONS)
    assert (relation and relation.name) == name
