"""Files of vectors: what is read is what was written, and a damaged file is an error that names it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.bind import LoadOptions
from pgvector_seed.data.formats import format_of
from pgvector_seed.data.formats.lines import LONGEST_LINE
from pgvector_seed.data.load import load_files
from tests.conftest import ask, tries
from tests.data.helpers import Array, make_table, same, save, vectors, write_csv, write_jsonl
from tests.e2e.conftest import server as server  # the newest PostgreSQL alone: these tests are slow

NUMBERS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.just(3)),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


def as_rows(values: Array, *, text: bool) -> list[dict[str, Any]]:
    lists = values.tolist()
    return [{"id": row + 1, "embedding": str(vector) if text else vector} for row, vector in enumerate(lists)]


def write_texmex(path: Path, values: Array) -> str:
    records = np.empty(len(values), [("d", "<i4"), ("v", values.dtype, values.shape[1:])])
    records["d"], records["v"] = values.shape[1], values
    return write(path, records.tobytes())


def write_parquet(path: Path, values: Array, type_: pa.DataType) -> str:
    lists = pa.array(values.astype(float).tolist(), type_)
    table = pa.table({"id": pa.array(range(1, len(values) + 1), pa.int32()), "embedding": lists})
    pq.write_table(table, path, row_group_size=17)
    return str(path)


def write_hdf5(path: Path, values: Array) -> str:
    with h5py.File(path, "w") as file:
        file["train"] = values
    return str(path)


def compressed(file: str, codec: str) -> str:
    """Compress a file in its place."""
    whole = Path(file).read_bytes()
    with pa.CompressedOutputStream(file, codec) as stream:
        stream.write(whole)
    return file


def write(path: Path, data: bytes | str) -> str:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


WRITERS: dict[str, Callable[[Path, Array], str]] = {
    "v.npy": save,
    "fortran.npy": lambda path, values: save(path, np.asfortranarray(values)),
    "big-endian.npy": lambda path, values: save(path, values.astype(">f4")),
    "v.fvecs": lambda path, values: write_texmex(path, values.astype("<f4")),
    "v.parquet": lambda path, values: write_parquet(path, values, pa.list_(pa.float32())),
    "fixed.parquet": lambda path, values: write_parquet(path, values, pa.list_(pa.float64(), 3)),
    "v.hdf5": lambda path, values: write_hdf5(path, values),
    "v.jsonl.gz": lambda path, values: compressed(write_jsonl(path, as_rows(values, text=False)), "gzip"),
    "v.csv.zst": lambda path, values: compressed(write_csv(path, as_rows(values, text=True)), "zstd"),
    "v.jsonl": lambda path, values: write_jsonl(path, as_rows(values, text=False)),
    "v.csv": lambda path, values: write_csv(path, as_rows(values, text=True)),
}


def read(file: str) -> list[Any]:
    """Return the blocks of a whole file."""
    format_ = format_of(file)
    format_.columns(file)
    return [block for unit in format_.units(file) for block in format_.read(unit, "embedding")]


@pytest.mark.newest
@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=tries(15, soak=300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=NUMBERS)
def test_vectors_come_back_bit_by_bit(database: str, tmp_path: Path, name: str, values: Array) -> None:
    """Files of every format are in the table as they were written, and a second load finds no difference."""
    ask(database, "DROP TABLE IF EXISTS items")
    make_table(database)
    file = WRITERS[name](tmp_path / name, values)
    numbered = None if any(part in name for part in (".jsonl", ".csv", ".parquet")) else 1
    options = LoadOptions("items", number_from=numbered)
    assert load_files([file], options, conninfo=database).counts.copied == len(values)
    assert same(database, values)
    assert load_files([file], options, conninfo=database).counts.unchanged == len(values)


def cut(path: Path, count: int) -> str:
    """Remove the last bytes of a file, and return its name."""
    return write(path, path.read_bytes()[:-count])


def npy_header(path: Path, shape: object, dtype: str = "<f4") -> str:
    """Write a .npy whose header promises this shape, with the data of one number."""
    header = str({"descr": dtype, "fortran_order": False, "shape": shape}).ljust(117).encode() + b"\n"
    return write(path, b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: npy_header(path / "a.npy", (2**40, 128)), "it is truncated"),
        (lambda path: npy_header(path / "a.npy", (2**70, 2**70)), "it is truncated"),
        (lambda path: npy_header(path / "a.npy", (-1, 4)), "it is truncated"),
        (lambda path: npy_header(path / "a.npy", (1,)), "not of numbers in rows and dimensions"),
        (lambda path: npy_header(path / "a.npy", (1, 1), "<U1"), "not of numbers in rows and dimensions"),
        (lambda path: save(path / "a.npy", np.array([[{}]], object)), "Python objects, which would be unpickled"),
        (lambda path: write(path / "a.npy", b""), "no array of NumPy"),
        (lambda path: write(path / "a.npy", b"\x93NUMPY\x01\x00\x10"), "no array of NumPy"),
        (lambda path: write(path / "a.csv", b""), "is empty"),
        (lambda path: write(path / "a.csv", 'id,embedding\n1,"[1'), "it is not CSV"),
        (lambda path: write(path / "a.csv", b"id,embedding\n1,\xff"), "it is not UTF-8"),
        (lambda path: write(path / "a.csv", "id,id\n1,2"), "in its first line twice"),
        (lambda path: write(path / "a.jsonl", b"1" * (LONGEST_LINE + 1)), "more than 16 MB"),
        (lambda path: cut(Path(write_texmex(path / "a.fvecs", vectors(3))), 1), "is truncated"),
        (lambda path: write(path / "a.fvecs", b""), "is empty, truncated or no .fvecs"),
        (lambda path: write(path / "a.bvecs", b"\1\0\0\0\1\2\0\0\0\1"), "row 2: 2 dimensions, and 1 in the first"),
        (lambda path: write(path / "a.parquet", b""), "cannot be read as Parquet"),
        (lambda path: cut(Path(WRITERS["v.parquet"](path / "a.parquet", vectors(3))), 5), "Parquet"),
        (lambda path: write(path / "a.h5", b"\x89HDF"), "cannot be read as HDF5"),
        (lambda path: cut(Path(WRITERS["v.jsonl.gz"](path / "a.jsonl.gz", vectors(9))), 5), "to its end"),
        (lambda path: cut(Path(WRITERS["v.csv.zst"](path / "a.csv.zst", vectors(9))), 5), "to its end"),
        (lambda path: write(path / "a.npy.gz", b""), "no known format"),
        (lambda path: write(path / "a.txt", b""), "no known format"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(tmp_path: Path, make: Callable[[Path], str], words: str) -> None:
    file = make(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        read(file)
    assert file in caught.value.message


@pytest.mark.parametrize(
    ("text", "row", "words"),
    [
        ('{"embedding": [1]}\n{"embedding": [NaN]}\n', 2, "not a JSON object"),
        ('{"embedding": [1]}\n{"embedding": [1', 2, "not a JSON object"),
        ('{"embedding": [1]}\n\n[1]\n', 3, "not a JSON object"),
        ('{"embedding": [1]}\n{"embedding": [1, 2]}\n', 2, "2 dimensions, and 1 in the first row"),
        ('{"embedding": [1]}\n{"embedding": "[1]"}\n', 2, "its vector is text"),
        ('{"embedding": [[1]]}\n', 1, "not a list of numbers"),
        ('{"embedding": []}\n', 1, "not a list of numbers"),
        ("[" * 5000, 1, "not a JSON object"),
    ],
)
def test_a_bad_row_is_told_with_its_number(tmp_path: Path, text: str, row: int, words: str) -> None:
    faults = [fault for block in read(write(tmp_path / "a.jsonl", text)) for fault in block.faults]
    assert [(fault.row, words in fault.reason) for fault in faults] == [(row, True)], faults


def test_a_byte_order_mark_and_quoted_line_ends(tmp_path: Path) -> None:
    """Neither becomes a part of a name, nor changes the number of a row."""
    file = write(tmp_path / "a.csv", '\ufeffid,embedding,title\r\n1,"[1, 2]","a\n""b"""\r\n2,"[3,4]",\r\n')
    (block,) = read(file)
    assert (block.numbers.tolist(), block.columns) == ([1, 2], {"id": ["1", "2"], "title": ['a\n"b"', None]})
    (block,) = read(write(tmp_path / "a.jsonl", '\ufeff{"embedding": [1]}'))
    assert block.vectors.tolist() == [[1]]


@pytest.mark.parametrize("name", WRITERS)
def test_random_damage_is_an_error_or_rows(tmp_path: Path, name: str) -> None:
    """Whatever bytes change, get lost or are added: rows, bad rows or one error that names the file."""
    file = Path(WRITERS[name](tmp_path / name, vectors(50)))
    whole, dice = file.read_bytes(), random.Random(5)
    for _ in range(tries(100, soak=10_000)):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 4)):
            place = dice.randrange(len(data))
            if dice.random() < 0.3:
                del data[place : place + dice.randrange(1, 60)]
            else:
                data[place] = dice.randrange(256)
            data = data or bytearray(b"\0")
        file.write_bytes(data)
        try:
            blocks = read(str(file))
        except InputError as error:
            message = error.message
        else:
            assert all(len(block) == len(block.vectors) for block in blocks)
            continue
        assert str(file) in message
