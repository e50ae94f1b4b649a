"""The declared indexes as one Pulumi resource, built by the package ``migrate`` once their tables have the rows.

The resource is always declared: a delete could not tell the removal of the last index from a destroy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
from pulumi.dynamic import (
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    UpdateResult,
)

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.sizes import parse_size
from pgvector_seed.infra.dynamic import ConnectingProvider
from pgvector_seed.infra.process import report
from pgvector_seed.infra.properties import Properties
from pgvector_seed.infra.state import connect_to_read, read_expected_ledger
from pgvector_seed.migrate.contract import as_data
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.index_states import DeclaredState, states
from pgvector_seed.migrate.indexes import BuildOptions, build
from pgvector_seed.postgres.connection import connect

_INPUTS = ("conninfo", "indexes", "ledger", "memory", "__provider")


class IndexesProvider(ConnectingProvider):
    """Builds declared indexes on create and update, and shows their states on refresh. A delete leaves them."""

    def diff(self, _id: str, olds: Properties, news: Properties) -> DiffResult:
        """Compare the inputs. An index that waits for rows is also a change: they may have been loaded since."""
        waiting = olds.get("waiting") or {}
        for line in [*map(": ".join, waiting.items()), *_changed_queries(olds, news)]:
            report(line)
        same = all(olds.get(name) == news.get(name) for name in _INPUTS)
        return DiffResult(changes=bool(waiting) or not same)

    def create(self, props: Properties) -> CreateResult:
        """Build the indexes whose tables have their rows."""
        return CreateResult(props["ledger"], build_indexes(props))

    def update(self, _id: str, _olds: Properties, news: Properties) -> UpdateResult:
        """Build what is missing, replace what differs, and drop what is no longer declared."""
        return UpdateResult(build_indexes(news))

    def read(self, id_: str, props: Properties) -> ReadResult:
        """Return the indexes as they are now: one that was dropped or changed by hand is waiting to be built."""
        with connect_to_read(props["conninfo"]) as connection:
            ledger = read_expected_ledger(connection, props["ledger"])
            if ledger is None:
                return ReadResult(None, {})
            if not ledger.catalogue:  # a migration is not finished: the next up applies it first
                return ReadResult(id_, props)
            return ReadResult(id_, {**props, **_outputs(states(connection, ledger))})


def build_indexes(props: Properties) -> Properties:
    """Build the indexes of the resource's inputs, and return its outputs."""
    with connect(props["conninfo"]) as connection:
        result = build(connection, report, BuildOptions(memory_bytes=parse_size(props.get("memory") or "")))
    for one in result.states:
        if one.waits:
            report(f"{one.definition.name}: {one.reason}. When they are loaded: {PROGRAM} index build, or up again")
    inputs = {name: props[name] for name in _INPUTS if name in props}
    return {**inputs, **_outputs(result.states)}


def _outputs(declared: list[DeclaredState]) -> Properties:
    return {
        "built": {one.definition.name: one.definition.table for one in declared if one.is_ready},
        "waiting": {one.definition.name: one.reason for one in declared if not one.is_ready},
    }


def _changed_queries(olds: Properties, news: Properties) -> Iterator[str]:
    """Yield a line for each table with indexes whose queries must change, too: the metric or the cast is another."""
    texts = [side.get("indexes") for side in (olds, news)]
    if not all(isinstance(text, str) for text in texts):  # an Output is not known at preview
        return
    sides = [json.loads(str(text))["tables"] for text in texts]
    for table in sides[0].keys() & sides[1].keys():
        before, after = (side[table].get("metric") for side in sides)
        if before != after:
            yield f"{table}: the metric {before} becomes {after}: queries by {before} will have no index of the stack"
        forms = [{_form(index) for index in side[table]["index"]} for side in sides]
        for form in sorted(forms[0] - forms[1]):
            yield f"{table}: queries {form} will have no index of the stack"


def _form(index: Mapping[str, Any]) -> str:
    """Return the queries that an index serves, in words."""
    return "by the bits" if index.get("bits") else f"by a cast to {index['as']}" if "as" in index else "without a cast"


class Indexes(Resource, module="pgvector_seed", name="Indexes"):
    """The indexes that a stack declares for its tables.

    ``built`` maps the name of an index to its table; ``waiting`` maps a name to the reason why it is not built yet.
    """

    built: pulumi.Output[dict[str, str]]
    waiting: pulumi.Output[dict[str, str]]

    def __init__(
        self,
        name: str,
        *,
        conninfo: pulumi.Input[str],
        declaration: pulumi.Input[Declaration],
        ledger: pulumi.Input[str],
        memory: str | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "conninfo": pulumi.Output.secret(conninfo),
            "indexes": pulumi.Output.from_input(declaration).apply(_as_text),
            "ledger": ledger,
            "memory": memory,
        }
        super().__init__(IndexesProvider(), name, {**inputs, "built": None, "waiting": None}, opts)


def _as_text(declaration: Declaration) -> str:
    """Return the parts of the declaration that concern indexes, as JSON with the keys in one order."""
    tables: dict[str, Any] = {name: as_data(table) for name, table in declaration.tables.items() if table.index}
    return json.dumps({"schema": declaration.schema, "tables": tables}, sort_keys=True)
