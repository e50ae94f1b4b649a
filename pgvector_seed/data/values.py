"""A column's values in the server's binary format, by psycopg's dumpers for the type of the column."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
import numpy as np
import psycopg
from psycopg.abc import AdaptContext, Dumper
from psycopg.pq import Format

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.adapt import TYPES as VECTOR_TYPES
from pgvector_seed.data.adapt import adapt_value
from pgvector_seed.data.block import Array
from pgvector_seed.data.target import TargetColumn

Fixed: TypeAlias = tuple[str, Array]  # a type of frames.ELEMENTS, and the values
Varying: TypeAlias = list[bytes | None]
Faults: TypeAlias = dict[int, str]  # place of a row -> reason

JSON_TYPES = ("json", "jsonb")
_TEXT = ("text", "varchar", "bpchar", "name", "citext", "xml")
_INTEGERS = {"int2": 15, "int4": 31, "int8": 63}
_LARGEST_FLOAT4 = float(np.finfo(np.float32).max)


def _truth(text: str) -> bool:
    return {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}[text.lower()]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("\\x"))


# The Python types of a value, and the function that makes one from text.
_TYPES: Mapping[str, tuple[tuple[type, ...], Callable[[str], Any]]] = {
    **dict.fromkeys(_INTEGERS, ((int,), int)),
    "float4": ((float, int), float),
    "float8": ((float, int), float),
    "numeric": ((Decimal, int, float), Decimal),
    "bool": ((bool,), _truth),
    "uuid": ((UUID,), UUID),
    "date": ((date,), date.fromisoformat),
    "time": ((time,), time.fromisoformat),
    "timestamp": ((datetime,), datetime.fromisoformat),
    "timestamptz": ((datetime,), datetime.fromisoformat),
    "bytea": ((bytes,), _bytes),
}


def dump(
    column: TargetColumn, values: Sequence[Any] | Array, context: AdaptContext, *, json_values: bool
) -> tuple[Fixed | Varying, Faults]:
    """Return the values for a column, and the reason for each that its type does not take; that is NULL then.

    Raises InputError if no value can be sent to a column of this type.
    """
    fixed = _as_fixed(column, values)
    if fixed is not None:
        return fixed
    to_bytes = _converter(column, context, json_values=json_values)
    dumped: Varying = []
    faults: Faults = {}
    for place, value in enumerate(values.tolist() if isinstance(values, np.ndarray) else values):
        try:
            dumped.append(None if value is None else to_bytes(value))
        except (ValueError, TypeError, LookupError, ArithmeticError, struct.error, psycopg.Error, RecursionError):
            size = f"({column.modifier})" if column.type in VECTOR_TYPES and column.modifier > 0 else ""
            faults[place] = f"{column.name}: {str(value)[:60]!r} is no {column.type}{size}"
            dumped.append(None)
    return dumped, faults


def _as_fixed(column: TargetColumn, values: Sequence[Any] | Array) -> tuple[Fixed, Faults] | None:
    """Return numbers of a fixed width, or None if there are NULLs or values that must first be converted."""
    kinds = "iu" if column.type in _INTEGERS else "f" if column.type in ("float4", "float8") else ""
    if not kinds or not len(values):
        return None
    if isinstance(values, list) and not {*map(type, values)} <= {int, float}:
        return None
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        return None
    if array.dtype.kind not in kinds or array.ndim != 1 or (column.type == "float4" and array.dtype.itemsize > 4):
        return None
    if column.type not in _INTEGERS:
        return (column.type, array), {}
    limit = 1 << _INTEGERS[column.type]
    outside = np.zeros(len(array), bool)
    if int(array.max()) >= limit or int(array.min()) < -limit:
        outside = np.array([not -limit <= value < limit for value in array.tolist()])
        array = np.where(outside, 0, array)
    faults = {place: f"{column.name}: {values[place]} is out of range" for place in np.flatnonzero(outside).tolist()}
    return (column.type, array), faults


def _converter(column: TargetColumn, context: AdaptContext, *, json_values: bool) -> Callable[[Any], bytes]:
    if column.type in JSON_TYPES:
        prefix = b"\x01" if column.type == "jsonb" else b""
        return lambda value: prefix + _as_json(value, json_values=json_values)
    if column.type in _TEXT or column.kind == "e":
        return _as_text
    if column.type in VECTOR_TYPES:
        return lambda value: adapt_value(value, column)
    try:
        dumper = context.adapters.get_dumper_by_oid(column.type_oid, Format.BINARY)(type(None), context)
    except psycopg.ProgrammingError as error:
        raise InputError(
            f"the column {column.name} has the type {column.type}, which load cannot fill",
            f"Leave it out: --map {column.name}=",
        ) from error
    if column.type not in _TYPES:
        return lambda value: bytes(dumper.dump(value) or b"")
    return lambda value: _dumped(column.type, dumper, value)


def _dumped(type_: str, dumper: Dumper, value: Any) -> bytes:
    types, parse = _TYPES[type_]
    if isinstance(value, str):
        value = parse(value)
    if not isinstance(value, types) or (isinstance(value, bool) and type_ != "bool"):
        raise TypeError
    return bytes(dumper.dump(_in_range(type_, value)) or b"")


def _in_range(type_: str, value: Any) -> Any:
    """Return the value as the dumper of the type wants it. Raises OverflowError or TypeError if it does not fit."""
    if type_ in _INTEGERS and not -(1 << _INTEGERS[type_]) <= value < 1 << _INTEGERS[type_]:
        raise OverflowError
    if type_ == "float4" and math.isfinite(value) and abs(value) > _LARGEST_FLOAT4:
        raise OverflowError
    if type_.startswith("float"):
        value = float(value)
    if type_ == "numeric" and isinstance(value, float):
        value = Decimal(repr(value))
    if type_ == "date" and isinstance(value, datetime):
        raise TypeError
    return value


def _as_text(value: Any) -> bytes:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError
    return value.encode()


def _as_json(value: Any, *, json_values: bool) -> bytes:
    if isinstance(value, str) and not json_values:
        msgspec.json.decode(value)
        return value.encode()
    return msgspec.json.encode(value)
