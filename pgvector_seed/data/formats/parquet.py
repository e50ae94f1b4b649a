"""Parquet: the vectors are lists of numbers, the other columns of any type that has a counterpart in the table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pgvector_seed.common.errors import InputError
from pgvector_seed.data.block import WHOLE_BYTES, Array, Block, numbered, rows_in_block
from pgvector_seed.data.formats import Unit
from pgvector_seed.data.formats.lines import RowsReader
from pgvector_seed.data.objects import is_remote, reading

_SAMPLE_ROWS = 100
_BUFFER_BYTES = 1 << 20  # of a column's pages: without it, pyarrow reads whole columns of a row group


def columns(file: str) -> list[str]:
    """Return the names of the columns."""
    with _opened(file) as parquet:
        return list(parquet.schema_arrow.names)


def units(file: str) -> list[Unit]:
    """Return the row groups."""
    with _opened(file) as parquet:
        return [Unit(file, start, stop) for _, start, stop in _groups(parquet)]


def read(unit: Unit, vector: str) -> Iterator[Block]:
    """Yield the rows of the unit's row groups."""
    with _opened(unit.file) as parquet:
        groups = [group for group, start, _ in _groups(parquet) if unit.start <= start < (unit.stop or 0)]
        size = _rows_in_batch(parquet, groups, vector)
        place = unit.start
        for batch in parquet.iter_batches(batch_size=size, row_groups=groups, use_threads=False):
            step = max(1, len(batch) * WHOLE_BYTES // max(batch.nbytes, WHOLE_BYTES))
            for start in range(0, len(batch), step):  # some rows are much larger than the first ones
                part = batch.slice(start, step)
                yield _block(unit.file, place, part, vector)
                place += len(part)


def _rows_in_batch(parquet: pq.ParquetFile, groups: list[int], vector: str) -> int:
    """Return how many rows make a block, by the size of the first ones, whose texts may be larger than the vectors."""
    first = next(parquet.iter_batches(batch_size=_SAMPLE_ROWS, row_groups=groups, use_threads=False), None)
    if first is None or not len(first):
        return 1
    lists = first.column(vector)[0].as_py()
    size = rows_in_block(len(lists) if isinstance(lists, list) else 1)
    size_by_bytes: int = WHOLE_BYTES * len(first) // max(1, first.nbytes)
    return max(1, min(size, size_by_bytes))


def _groups(parquet: pq.ParquetFile) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each row group with rows, and the numbers of its first row and of the next one's."""
    start = 0
    for group in range(parquet.num_row_groups):
        stop = start + parquet.metadata.row_group(group).num_rows
        if stop > start:
            yield group, start, stop
        start = stop


def _block(file: str, place: int, batch: pa.RecordBatch, vector: str) -> Block:
    vectors = _matrix(batch.column(vector))
    if vectors is not None:
        columns = {name: _values(batch.column(name)) for name in batch.schema.names if name != vector}
        return Block(file, numbered(place, place + len(batch)), vectors, columns)
    reader = RowsReader(file, vector, json_values=False)  # lists of several lengths, or NULLs
    for number, values in enumerate(batch.to_pylist(), start=place + 1):
        reader.add(number, values.pop(vector), values, 0)
    return reader.block()


def _matrix(lists: pa.Array) -> Array | None:
    """Return lists of one length as rows x dimensions, without a copy if possible, or None."""
    is_list = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(test(lists.type) for test in is_list):
        return None
    lengths = pc.list_value_length(lists)
    bounds = pc.min_max(lengths).as_py()
    if lists.null_count or not bounds["min"] or bounds["min"] != bounds["max"]:
        return None
    values = lists.flatten()
    numeric = pa.types.is_floating(values.type) or pa.types.is_integer(values.type)
    if not numeric or values.null_count:
        return None
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(lists), -1)


def _values(column: pa.Array) -> Any:
    """Return numbers as an array, everything else as Python's objects."""
    if column.null_count == 0 and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        return column.to_numpy(zero_copy_only=False)
    return column.to_pylist()


@contextmanager
def _source(file: str) -> Iterator[Any]:
    if not is_remote(file):
        yield file
        return
    with reading(file) as (system, path), system.open_input_file(path) as source:
        yield source


@contextmanager
def _opened(file: str) -> Iterator[pq.ParquetFile]:
    """Open a file, and raise InputError if it cannot be read, also in the middle."""
    try:
        with _source(file) as source, pq.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER_BYTES) as parquet:
            yield parquet
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        raise InputError(f"{file} cannot be read as Parquet: {' '.join(str(error).split())}") from error
