"""The contract of a deployment: the one model that writes, reads and validates it.

Its keys are described in docs/verify.md. ``declaration`` makes one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import in_checkout
from pgvector_seed.postgres.conninfo import SslMode
from pgvector_seed.vectors.metrics import OPERATORS
from pgvector_seed.vectors.settings import fault_of_setting

CONTRACT: Literal[1] = 1  # the version of the format

Text = Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^\x00]*$")]
Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
# int | float, so that 1 is recorded as 1 and not as 1.0.
Share = Annotated[int, msgspec.Meta(ge=0, le=1)] | Annotated[float, msgspec.Meta(ge=0, le=1)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A part of the contract. None means not declared: the key is absent."""


class DeclaredConnection(_Part, frozen=True, kw_only=True):
    """The address of the database, without a user and without a secret."""

    host: Text | None = None
    port: int | Text | None = None
    dbname: Text | None = None
    sslmode: SslMode | None = None


class DeclaredExtension(_Part, frozen=True, kw_only=True):
    """The vector extension. ``minimum`` is the lowest version."""

    name: Literal["vector"] | None = None
    schema: Text | None = None
    minimum: Annotated[str, msgspec.Meta(pattern=r"^[0-9]+(\.[0-9]+)*\Z")] | None = None


class DeclaredMigration(_Part, frozen=True, kw_only=True):
    """A migration. ``checksum`` is the sha256 of its up, in hexadecimal."""

    id: Text
    checksum: Text | None = None


class DeclaredLedger(_Part, frozen=True, kw_only=True):
    """The ledger's id, and its migrations in order."""

    id: Text | None = None
    migrations: tuple[DeclaredMigration, ...] | None = None


Parameters = Mapping[str, bool | int | float | str]


class _IndexProperties(_Part, frozen=True, kw_only=True):
    """The properties of a vector index that a stack may declare.

    ``cast`` is the type of an index on a cast of the column, ``bits`` True for one on binary_quantize of it.
    """

    column: Text | None = None
    parameters: Parameters | None = None
    cast: Literal["halfvec"] | None = msgspec.field(default=None, name="as")
    bits: bool | None = None

    def __post_init__(self) -> None:
        if self.cast and self.bits:
            raise ValueError("an index has as or bits, not both")


class IndexDeclaration(_IndexProperties, frozen=True, kw_only=True):
    """A vector index that a stack declares. ``name`` and ``column`` may be left out: see ``declaration``."""

    method: Text
    name: Text | None = None


class DeclaredIndex(_IndexProperties, frozen=True, kw_only=True):
    """An index on the vector column. It must serve the table's metric."""

    name: Text
    method: Text | None = None


class DeclaredRecall(_Part, frozen=True, kw_only=True):
    """The lowest share of the ``k`` nearest neighbors that a reader must get, from 0 to 1.

    With ``filter``, a column, also of those within any one value of it.
    """

    k: Positive
    minimum: Share
    filter: Text | None = None


class DeclaredFreshness(_Part, frozen=True, kw_only=True):
    """The columns with the time of a row's embedding, and with that of the last change of its text."""

    embedded: Text
    updated: Text


class DeclaredModel(_Part, frozen=True, kw_only=True):
    """The name of the embedding model, and the column with the name of each row's model."""

    name: Text
    column: Text


class _TableFacts(_Part, frozen=True, kw_only=True):
    """Facts about a table that the catalog does not have. ``rows`` is a minimum.

    ``missing`` is the share of the rows that may lack a vector. ``normalized`` vectors have the length 1.
    """

    metric: Text | None = None
    rows: Count | None = None
    recall: DeclaredRecall | None = None
    missing: Share | None = None
    normalized: bool | None = None
    fresh: DeclaredFreshness | None = None
    model: DeclaredModel | None = None

    def __post_init__(self) -> None:
        if self.metric is not None and self.metric not in OPERATORS:
            raise ValueError(f"metric must be one of {', '.join(OPERATORS)}")


class TableDeclaration(_TableFacts, frozen=True, kw_only=True):
    """Facts about a table that a stack declares. ``index`` has the indexes that are built once it has its rows."""

    index: tuple[IndexDeclaration, ...] | None = None


class DeclaredTable(_TableFacts, frozen=True, kw_only=True):
    """A table and one of its vector columns. ``name`` is schema-qualified and quoted for SQL."""

    name: Text
    id: Text | None = None
    vector: Text | None = None
    type: Literal["vector", "halfvec", "bit", "sparsevec"] | None = None
    dimensions: Positive | None = None
    owner: Text | None = None
    indexes: tuple[DeclaredIndex, ...] | None = None


class DeclaredRoles(_Part, frozen=True, kw_only=True):
    """The names of the roles that write and read."""

    writer: Text | None = None
    reader: Text | None = None


class Contract(_Part, frozen=True, kw_only=True):
    """The properties that a deployment promises, for ``verify`` to check."""

    contract: Literal[1]
    connection: DeclaredConnection = DeclaredConnection()
    extension: DeclaredExtension = DeclaredExtension()
    ledger: DeclaredLedger = DeclaredLedger()
    tables: tuple[DeclaredTable, ...] | None = None
    roles: DeclaredRoles = DeclaredRoles()
    reader_settings: Parameters | None = msgspec.field(default=None, name="readerSettings")

    def __post_init__(self) -> None:
        for name in self.reader_settings or ():
            if fault := fault_of_setting(name):
                raise ValueError(f"{name} {fault}")


def prepare_type(type_: type[msgspec.Struct]) -> None:
    """Have msgspec analyze a type now: it does so at the first use, and crashes if two threads use the type first.

    The process of Pulumi's provider has several threads. A module is imported by one.
    """
    msgspec.json.Decoder(type_)


prepare_type(Contract)


def parse(text: str | bytes, source: str) -> Contract:
    """Return the contract in a JSON text. Raises InputError with ``source``, the JSON path and the fault."""
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _fault(source, f"not JSON: {error}") from error
    return convert(data, source)


def convert(data: Any, source: str) -> Contract:
    """Return the contract in decoded JSON. Raises InputError with ``source``, the JSON path and the fault."""
    if not isinstance(data, dict) or data.get("contract") != CONTRACT:
        raise _fault(source, f'must be an object with "contract": {CONTRACT}, the only version')
    try:
        _refuse_nulls_and_surrogates(data, "$")
        contract = msgspec.convert(data, Contract)
    except ValueError as error:
        raise _fault(source, str(error)) from error
    if contract in (Contract(contract=CONTRACT), Contract(contract=CONTRACT, tables=())):
        raise _fault(source, "nothing is declared")
    return contract


def as_data(part: msgspec.Struct) -> dict[str, Any]:
    """Return a contract, a part of a contract or a declaration as JSON data, without the undeclared keys."""
    data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(part))  # to_builtins would keep tuples
    return data


def _fault(source: str, fault: str) -> InputError:
    return InputError(
        f"the contract {source} cannot be used: {fault}", in_checkout("Its keys are described in docs/verify.md.")
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {max(names, key=names.count)} is duplicated")
    return data


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_nulls_and_surrogates(data: Any, path: str) -> None:
    """Raise ValueError for a null, or for a lone surrogate, which no database can hold.

    A null could mean "not declared" or a value that was never filled in, and a check would silently be skipped.
    """
    if data is None:
        raise ValueError(f"null at {path}: leave the key out instead")
    if isinstance(data, str) and not data.isascii() and data != data.encode(errors="replace").decode():
        raise ValueError(f"lone surrogate at {path}")
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in entries:
        _refuse_nulls_and_surrogates(value, f"{path}.{key}" if isinstance(data, dict) else f"{path}[{key}]")
