"""The contract: the declaration joined with the catalog."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from local.workspace import ROOT
from pgvector_seed.common.errors import InputError
from pgvector_seed.migrate.contract import as_data, convert
from tests.conftest import declare

CATALOGUE = {"schema": "public", "tables": [{"table": "items", "name": "public.items", "metric": "cosine"}]}


def test_what_the_stack_declares_is_joined_with_what_the_catalogue_said() -> None:
    declaration = declare(connection={"host": "db"}, tables={"items": {"rows": 3, "metric": "l2"}})
    assert as_data(declaration.contract("the-id", {"0001_a": "sum"}, CATALOGUE)) == {
        "contract": 1,
        "connection": {"host": "db"},
        "extension": {"name": "vector", "schema": "public", "minimum": "0.8.4"},
        "ledger": {"id": "the-id", "migrations": [{"id": "0001_a", "checksum": "sum"}]},
        "tables": [{"name": "public.items", "metric": "l2", "rows": 3}],
    }


def test_what_is_not_declared_is_left_out_and_an_empty_list_of_tables_is_not() -> None:
    """The recorded contract has the same keys in each deployment, so it does not change."""
    assert as_data(declare().contract("the-id", {}, {"schema": "public", "tables": []})) == {
        "contract": 1,
        "connection": {},
        "extension": {"name": "vector", "schema": "public", "minimum": "0.8.4"},
        "ledger": {"id": "the-id", "migrations": []},
        "tables": [],
    }
    assert as_data(declare()) == {
        "schema": "public",
        "on_destroy": "retain",
        "minimum_version": "0.8.4",
        "connection": {},
        "tables": {},
        "roles": {},
        "reader_settings": {},
    }


def test_the_readers_settings_keep_their_types() -> None:
    settings = {"hnsw.ef_search": 100, "hnsw.scan_mem_multiplier": 1.5, "jit": False, "work_mem": "64MB"}
    contract = as_data(declare(reader_settings=settings).contract("the-id", {}, CATALOGUE))
    assert json.dumps(contract["readerSettings"]) == json.dumps(settings)
    assert as_data(convert(contract, "of the test")) == contract


@pytest.mark.parametrize("name", ["role", "search_path", "hnsw.ef search"])
def test_a_contract_with_another_setting_is_refused(name: str) -> None:
    """A contract may come from an untrusted source, and verify lets the server judge the values."""
    with pytest.raises(InputError, match=f"{name} must be a setting of an extension"):
        convert({"contract": 1, "readerSettings": {name: "x"}}, "of the test")


def test_a_whole_share_stays_whole() -> None:
    """A share of 1 is not written as 1.0, which Pulumi's state would take for a change."""
    declared = as_data(declare(tables={"items": {"recall": {"k": 1, "minimum": 1}}}))
    assert json.dumps(declared["tables"]) == '{"items": {"recall": {"k": 1, "minimum": 1}}}'


FACTS_OF_VECTORS: dict[str, Any] = {
    "missing": 0,
    "normalized": True,
    "fresh": {"embedded": "embedded_at", "updated": "updated_at"},
    "model": {"name": "small", "column": "model"},
}


def test_a_declared_table_passes_its_facts_to_the_contract() -> None:
    """The stack's keys of the vectors are the contract's, for each vector column of the table."""
    catalogue = {"schema": "public", "tables": [{"name": "public.t", "table": "t", "vector": "v", "type": "vector"}]}
    contract = declare(tables={"t": FACTS_OF_VECTORS}).contract("id", {}, catalogue)
    (table,) = as_data(contract)["tables"]
    assert table == {"name": "public.t", "vector": "v", "type": "vector", **FACTS_OF_VECTORS}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("missing", 1.5),
        ("normalized", 1),
        ("fresh", {"embedded": "embedded_at"}),
        ("fresh", {**FACTS_OF_VECTORS["fresh"], "by": "hand"}),
        ("model", {"name": "", "column": "model"}),
    ],
)
def test_a_wrong_fact_of_the_vectors_is_refused_by_its_path(key: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"tables\\[0\\].{key}"):
        convert({"contract": 1, "tables": [{"name": "public.t", key: value}]}, "of the test")


@pytest.mark.parametrize("data", [{}, {"tables": []}, {"extension": {}, "roles": {}}])
def test_a_contract_that_declares_nothing_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="nothing is declared"):
        convert({"contract": 1, **data}, "of the test")


@pytest.mark.parametrize("version", ["\u0660.\u0668", "0.8\n", "0.8."])
def test_a_minimum_that_is_no_version_is_refused(version: str) -> None:
    """Regression: Unicode's digits and a newline at the end passed."""
    with pytest.raises(InputError, match="minimum"):
        convert({"contract": 1, "extension": {"minimum": version}}, "of the test")


def test_a_declared_table_that_nobody_made_is_named() -> None:
    """A declared table that does not exist is refused: verify could never pass."""
    declaration = declare(tables={"itmes": {"rows": 3}})
    with pytest.raises(InputError, match="itmes"):
        declaration.contract("the-id", {}, CATALOGUE)


# The first use of a type by several threads at once, in many processes that are forked before it.
FIRST_USE = """
import os, sys, threading, msgspec
from pgvector_seed.migrate.contract import Contract
from pgvector_seed.migrate.declaration import Declaration

def use():
    while not start:
        pass
    msgspec.json.decode(text, type={"contract": Contract, "declaration": Declaration}[kind])

kind, text = sys.argv[1:]
start = False
sys.setswitchinterval(1e-6)
for _ in range(60):
    child = os.fork()
    if not child:
        threads = [threading.Thread(target=use) for _ in range(4)]
        for thread in threads:
            thread.start()
        start = True
        for thread in threads:
            thread.join()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
TABLE = {"metric": "cosine", "rows": 5, "recall": {"k": 10, "minimum": 0.5}}
OF_TYPE: dict[str, Any] = {
    "contract": {"contract": 1, "connection": {"host": "h"}, "tables": [{"name": "items", "dimensions": 3, **TABLE}]},
    "declaration": {"schema": "s", "connection": {"host": "h"}, "tables": {"items": TABLE}, "roles": {"owner": "o"}},
}


@pytest.mark.parametrize("kind", OF_TYPE)
def test_the_first_use_of_a_type_may_be_by_two_threads(kind: str) -> None:
    """Regression: the process of Pulumi's provider crashed, since two resources read their state at once."""
    words = [sys.executable, "-c", FIRST_USE, kind, json.dumps(OF_TYPE[kind])]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
