"""The values of an answer as the server writes them, so that each can be shown and put into JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec
from psycopg import BaseConnection, postgres
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.types.string import TextLoader

# Python has no infinite date and no year before 1, and writes times and intervals otherwise than the session.
_AS_TEXT = ("date", "time", "timetz", "timestamp", "timestamptz", "interval", "bytea", "inet", "cidr")
_RANGES = ("int4", "int8", "num", "date", "ts", "tstz")


class _JsonLoader(Loader):
    """Keeps JSON as it is: its numbers may have more digits than Python's."""

    def load(self, data: Buffer) -> msgspec.Raw:
        return msgspec.Raw(bytes(data))


class _FloatLoader(Loader):
    """Loads a number, or the server's word for what JSON does not have: NaN, Infinity."""

    def load(self, data: Buffer) -> float | str:
        text = bytes(data).decode()
        number = float(text)
        return number if math.isfinite(number) else text


class _NumericLoader(Loader):
    """Loads a number, or the server's word for what JSON does not have: NaN, Infinity."""

    def load(self, data: Buffer) -> Decimal | str:
        text = bytes(data).decode()
        number = Decimal(text)
        return number if number.is_finite() else text


def load_as_shown(connection: BaseConnection[Any], vectors: Iterable[int]) -> None:
    """Have this connection return values as they are shown. ``vectors`` are the oids of dense vector types.

    The system catalogs cannot be read with it afterwards.
    """
    adapters, types = connection.adapters, postgres.types
    ranges = [f"{name}{kind}" for name in _RANGES for kind in ("range", "multirange")]
    for name in (*_AS_TEXT, *ranges):
        adapters.register_loader(types[name].oid, TextLoader)
    for name in ("float4", "float8"):
        adapters.register_loader(types[name].oid, _FloatLoader)
    adapters.register_loader(types["numeric"].oid, _NumericLoader)
    for oid in (types["json"].oid, types["jsonb"].oid, *vectors):
        adapters.register_loader(oid, _JsonLoader)


def cell(value: Any) -> str:
    """Return a value as the text of a table's cell."""
    if value is None:
        return "NULL"
    is_json = isinstance(value, bool | list | dict | msgspec.Raw)
    return encoded(value).decode() if is_json else str(value)


def is_number(value: Any) -> bool:
    """Return True for a number."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


_ENCODER = msgspec.json.Encoder(enc_hook=str, decimal_format="number")


def encoded(document: Any) -> bytes:
    """Return a document as JSON. A type that JSON lacks becomes text."""
    return _ENCODER.encode(document)
