"""HDF5 in the layout of ann-benchmarks: the dataset ``train`` has rows x dimensions. Needs h5py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.remedies import install_package
from pgvector_seed.data.block import Block, numbered, rows_in_block
from pgvector_seed.data.formats import Unit, units_of
from pgvector_seed.data.objects import is_remote

_DATASET = "train"


def columns(file: str) -> None:
    """Return None: the file has vectors alone."""
    del file


def units(file: str) -> list[Unit]:
    """Return parts of about 64 MB."""
    with _dataset(file) as dataset:
        return units_of(file, dataset.shape[0], dataset.shape[1] * dataset.dtype.itemsize)


def read(unit: Unit, vector: str) -> Iterator[Block]:
    """Yield the vectors."""
    del vector
    with _dataset(unit.file) as dataset:
        for start, stop in unit.ranges(rows_in_block(dataset.shape[1])):
            try:
                vectors = np.asarray(dataset[start:stop])
            except (OSError, ValueError, RuntimeError) as error:
                raise InputError(f"{unit.file} cannot be read from row {start + 1}: {error}") from error
            yield Block(unit.file, numbered(start, stop), vectors)


@contextmanager
def _dataset(file: str) -> Iterator[Any]:
    """Open the dataset. Raises InputError if h5py is missing, or the file has no such dataset."""
    if is_remote(file):
        raise InputError(f"{file}: the library for HDF5 reads local files alone", "Copy it to this machine.")
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise InputError(f"{file} is HDF5, which needs h5py", f"Run: {install_package('h5py')}") from error
    try:
        opened = h5py.File(file, "r")
    except (OSError, RuntimeError) as error:
        raise InputError(f"{file} cannot be read as HDF5: {error}") from error
    with opened:
        try:
            dataset = opened.get(_DATASET)
            is_right = isinstance(dataset, h5py.Dataset) and dataset.ndim == 2 and dataset.dtype.kind in "fiub"
            is_right = is_right and dataset.shape[1] > 0
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"{file} cannot be read as HDF5: {error}") from error
        if not is_right:
            raise InputError(f"{file} has no dataset {_DATASET} of numbers in rows and dimensions")
        yield dataset
