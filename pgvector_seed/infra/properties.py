"""The inputs and outputs of the migrations resource, as Pulumi's state keeps them: checksums, never SQL."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.infra.process import report
from pgvector_seed.infra.state import WITHOUT_LEDGER, read_expected_ledger
from pgvector_seed.migrate.contract import as_data
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.files import checksums, down_checksums, load
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.runner import ApplyOptions, apply
from pgvector_seed.migrate.session import Limits
from pgvector_seed.postgres.catalog import owned_relations
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.errors import translated

Properties = dict[str, Any]
INPUTS = ("conninfo", "directory", "migrations", "downs", "declaration", "options")


def declaration(props: Properties) -> Declaration:
    """Return the declaration in the resource's inputs."""
    return msgspec.json.decode(props["declaration"], type=Declaration)


def options(props: Properties) -> ApplyOptions:
    """Return the options in the resource's inputs, or the defaults for an old state, which has none."""
    values = json.loads(props.get("options", "{}"))
    return ApplyOptions(Limits(**values.pop("limits", {})), **values)


def as_text(value: Declaration | ApplyOptions) -> str:
    """Return an input as JSON, always in the same order of keys."""
    data = as_data(value) if isinstance(value, Declaration) else dataclasses.asdict(value)
    return json.dumps(data, sort_keys=True)


def irreversible(props: Properties) -> list[str]:
    """Return the ids of the migrations that have no down, by the resource's inputs."""
    return [id_ for id_, checksum in props.get("downs", {}).items() if not checksum]


def apply_inputs(props: Properties, ledger_id: str | None = None) -> Properties:
    """Apply the migrations and the declaration of the resource's inputs, and return its outputs.

    Raises RefusedError if the database has another ledger than ``ledger_id``, or the files changed since the preview.
    """
    migrations = load(Path(props["directory"]))
    if (checksums(migrations), down_checksums(migrations)) != (props["migrations"], props["downs"]):
        raise RefusedError("the migration files changed while Pulumi ran", "Run the same command again.")
    with connect(props["conninfo"]) as connection:
        if ledger_id and read_expected_ledger(connection, ledger_id) is None:
            report(WITHOUT_LEDGER.format(ledger_id))
        result = apply(connection, migrations, declaration(props), report, options(props))
        return outputs_of(connection, props, result.ledger)


def outputs_of(connection: Connection, props: Properties, ledger: Ledger) -> Properties:
    """Return the inputs in ``props``, and the outputs that the ledger and the catalog give."""
    inputs = {name: props[name] for name in INPUTS if name in props}
    with translated("reading the catalog"):
        tables, sequences = owned_relations(connection, ledger.declaration.schema)
    return {
        **inputs,
        "ledger": ledger.id,
        "applied": ledger.checksums,
        "irreversible": sorted(ledger.irreversible),
        "contract": ledger.contract,
        "tables": tables,
        "sequences": sequences,
    }
