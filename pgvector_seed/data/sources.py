"""The bytes of a file, on this machine or in an object store."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path
from typing import IO, Any, cast

from pgvector_seed.data.objects import WILD, is_remote, matching_objects, reading

HEADER_BYTES = 64 << 10  # the smallest request to a store, for the first lines or any other place of a file
RANGE_BYTES = 4 << 20  # a request for the next part of a stream


def matching(name: str) -> list[str]:
    """Return the files that a pattern such as ``part-*.parquet`` matches, in the order of their names, or the one file.

    The name of a file that exists is no pattern. Raises InputError if an object store cannot be asked.
    """
    if is_remote(name):
        return matching_objects(name)
    is_pattern = any(sign in name for sign in WILD) and not Path(name).exists()
    return sorted(glob(name, recursive=True)) if is_pattern else [name]  # noqa: PTH207  # Path.glob takes no absolute pattern


@contextmanager
def opened(file: str) -> Iterator[IO[bytes]]:
    """Open a file to read it at any place. In the block, a failure of its object store raises InputError."""
    if is_remote(file):
        with reading(file) as (system, path), io.BufferedReader(system.open_input_file(path), HEADER_BYTES) as stream:
            yield stream
    else:
        with Path(file).open("rb", buffering=0) as stream:
            yield cast(IO[bytes], stream)


@contextmanager
def streamed(file: str, compression: str | None = None, *, peek: bool = False) -> Iterator[IO[bytes]]:
    """Open a file to read it from its start, decompressed. With ``peek``, requests are small. Raises as ``opened``."""
    if is_remote(file):
        with reading(file) as (system, path):
            raw = system.open_input_stream(path, compression=None, buffer_size=HEADER_BYTES if peek else RANGE_BYTES)
            with io.BufferedReader(_decompressed(raw, compression)) as stream:
                yield stream
    elif compression is not None:
        with io.BufferedReader(_decompressed(file, compression)) as stream:
            yield stream
    else:
        with Path(file).open("rb") as stream:
            yield stream


def _decompressed(raw: Any, compression: str | None) -> Any:
    import pyarrow as pa

    return raw if compression is None else pa.CompressedInputStream(raw, compression)
