"""COPY's binary format for whole blocks of rows, by numpy.

A row is a record of fixed width, then the fields of varying length, one by one. PostgreSQL's documentation of COPY
describes the format; pgvector's vector_send and halfvec_send define those of its types.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Buffer: TypeAlias = bytes | memoryview

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)  # no flags, no extension
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
ELEMENTS = {
    "int2": ">i2",
    "int4": ">i4",
    "int8": ">i8",
    "float4": ">f4",
    "float8": ">f8",
    "vector": ">f4",
    "halfvec": ">f2",
    "oid": ">u4",
    "tid": ">u4, >u2",  # the block, and the place in it
}


def encode(count: int, fixed: Sequence[tuple[str, Array]], varying: Sequence[Sequence[bytes | None]] = ()) -> Buffer:
    """Return ``count`` rows, without header and trailer: first the fields of fixed width, then the others.

    ``fixed`` has a type of ELEMENTS and the values of each field: one dimension, or two (rows x dimensions) for
    vectors. The values must fit into the type. ``varying`` has the values of each other field as the server's binary
    input takes them; None is NULL.
    """
    layout = record([(type_, values.shape[1] if values.ndim > 1 else None) for type_, values in fixed])
    records = np.zeros(count, layout)
    records["fields"] = len(fixed) + len(varying)
    for place, (_, values) in enumerate(fixed):
        records[f"bytes{place}"] = layout[f"value{place}"].itemsize + 4 * (values.ndim > 1)
        if values.ndim > 1:
            records[f"dimensions{place}"] = values.shape[1]
        records[f"value{place}"] = values
    data = records.view(np.uint8).data.cast("B")  # no copy
    if not varying:
        return data
    width = layout.itemsize
    starts = (data[place : place + width] for place in range(0, count * width, width))
    return b"".join(chain.from_iterable(zip(starts, *map(_with_lengths, varying), strict=True)))


def _with_lengths(values: Sequence[bytes | None]) -> Iterator[bytes]:
    return (NULL if value is None else struct.pack(">i", len(value)) + value for value in values)


def record(fixed: Sequence[tuple[str, int | None]]) -> np.dtype[Any]:
    """Return the dtype of a row's fixed part, from each field's type and dimensions, None for a number.

    The fields are bytes0, dimensions0, unused0, value0, bytes1 and so on.
    """
    fields: list[Any] = [("fields", ">i2")]
    for place, (type_, dimensions) in enumerate(fixed):
        fields.append((f"bytes{place}", ">i4"))
        if dimensions is None:
            fields.append((f"value{place}", ELEMENTS[type_]))
        else:
            fields += [(f"dimensions{place}", ">i2"), (f"unused{place}", ">i2")]
            fields.append((f"value{place}", ELEMENTS[type_], (dimensions,)))
    return np.dtype(fields)


def decode(data: Buffer, fixed: Sequence[tuple[str, int | None]]) -> Array:
    """Return whole rows of fixed width as records of the dtype that ``record`` gives. No copy is made.

    Raises ValueError if a row has other fields or dimensions, or a NULL.
    """
    layout = record(fixed)
    records = np.frombuffer(data, layout)
    wrong = records["fields"] != len(fixed)
    for place, (_, dimensions) in enumerate(fixed):
        is_vector = dimensions is not None
        wrong |= records[f"bytes{place}"] != layout[f"value{place}"].itemsize + 4 * is_vector
        if is_vector:
            wrong |= records[f"dimensions{place}"] != dimensions
    if wrong.any():
        raise ValueError(f"row {int(wrong.argmax())} is not of the expected form")
    return records
