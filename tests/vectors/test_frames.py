"""COPY's binary format: numpy's rows are those of psycopg and of pgvector's adapter."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pgvector import HalfVector, Vector

from pgvector_seed.vectors.frames import decode, encode

VALUES = np.array([[1, -0.0, 0.1], [3e38, 1e-45, 2]], np.float32)
SMALL = np.array([[1, 0.5], [65504, 6e-8]], np.float16)


def field(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def test_rows_are_those_of_the_adapter() -> None:
    """Numbers, both vector types, text and NULL are encoded as the adapters do it one by one."""
    text = [b"a", None]
    data = bytes(encode(2, [("int4", np.array([7, -1])), ("vector", VALUES), ("halfvec", SMALL)], [text]))
    expected = b""
    for row in range(2):
        value = text[row]
        expected += struct.pack(">h", 4) + field(struct.pack(">i", [7, -1][row]))
        expected += field(Vector(VALUES[row]).to_binary()) + field(HalfVector(SMALL[row]).to_binary())
        expected += field(value) if value is not None else b"\xff\xff\xff\xff"
    assert data == expected


def test_rows_come_back_as_they_went() -> None:
    """A row of another width, other dimensions or with a NULL is refused, and never read as numbers."""
    fixed: list[tuple[str, int | None]] = [("int4", None), ("vector", 3)]
    data = bytes(encode(2, [("int4", np.array([7, -1])), ("vector", VALUES)]))
    records = decode(data, fixed)
    assert records["value0"].tolist() == [7, -1]
    assert records["value1"].tobytes() == VALUES.astype(">f4").tobytes()
    null = data.replace(field(struct.pack(">i", 7)), b"\xff\xff\xff\xff" + bytes(4))
    for wrong in (data[:-1], null, data.replace(struct.pack(">h", 3), struct.pack(">h", 2), 1)):
        with pytest.raises(ValueError, match=r"row 0 is not of the expected form|buffer size"):
            decode(wrong, fixed)
