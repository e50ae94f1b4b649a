"""Bad rows in a file of their own: JSON Lines that can be fixed and loaded by themselves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path
from threading import Lock
from typing import Any, Self

import msgspec
import numpy as np

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import os_error
from pgvector_seed.data.block import RowFault
from pgvector_seed.data.formats.jsonl import REJECTED
from pgvector_seed.data.objects import is_remote
from pgvector_seed.data.session import AGAIN

MOST_GATHERED_BYTES = 64 << 20  # of a part, in a worker's memory


class Rejects:
    """The bad rows of a load. Without a file, the first one is an error. No file is left if there are none."""

    def __init__(self, file: str | None) -> None:
        self.count = 0
        self._lock = Lock()
        self._path = None if file is None else Path(file)
        self._stream = None if self._path is None else _open(self._path)  # __exit__ closes it

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *_rest: object) -> None:
        if self._path is None or self._stream is None:
            return
        with suppress(OSError):  # add has flushed, or reported it
            self._stream.close()
        if self.count or not self._path.is_file():  # which /dev/null is not
            return
        if failure is None or not self._path.stat().st_size:  # after a failure, an earlier load's rows stay
            self._path.unlink()

    def add(self, faults: Iterable[RowFault]) -> None:
        """Write the rows. Raises InputError for the first one if there is no file, or if it cannot be written."""
        for fault in faults:
            if self._path is None or self._stream is None:
                raise InputError(f"{fault.file}, row {fault.row}: {fault.reason}", f"Fix it. {AGAIN}")
            self.write(_line(fault))

    def write(self, line: bytes) -> None:
        """Write a line of JSON to the file, which must be given. Raises InputError if it cannot be written."""
        assert self._path is not None
        assert self._stream is not None
        with self._lock, _naming(self._path):
            if not self.count and self._path.is_file():
                self._stream.truncate(0)
            self.count += 1
            self._stream.write(line)
            self._stream.flush()


class GatheredRejects(Rejects):
    """The bad rows of a part, as lines of JSON for the process that has the file."""

    def __init__(self) -> None:
        super().__init__(None)
        self.lines: list[bytes] = []
        self._room = MOST_GATHERED_BYTES

    def add(self, faults: Iterable[RowFault]) -> None:
        """Keep the rows. Raises InputError if they exceed MOST_GATHERED_BYTES."""
        for fault in faults:
            line = _line(fault)
            self.lines.append(line)
            self._room -= len(line)
            if self._room < 0:
                reason = f"the bad rows of one part have more than {MOST_GATHERED_BYTES >> 20} MB"
                raise InputError(f"{fault.file}, row {fault.row}: {reason}", "Load that file without --dask.")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        remedy = "Name another file: --rejects FILE"
        raise InputError(f"the bad rows cannot be written: {os_error(error)}", remedy) from error


def _open(path: Path) -> BufferedWriter:
    """Open the file to append to it. Raises InputError if it cannot be written."""
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} is missing", "Create it, or name another: --rejects FILE")
    with _naming(path):
        return path.open("ab")


def refuse_input(file: str | None, inputs: Iterable[str]) -> None:
    """Raise InputError if the rejects' file, which is written anew, is one of the files to load, or not local."""
    if file and is_remote(file):
        raise InputError("the bad rows can only be written to this machine", "Name a local file: --rejects FILE")
    for path in map(Path, inputs):
        if file and Path(file).exists() and path.exists() and path.samefile(file):
            raise InputError(f"{file} is one of the files to load", "Give the rejects another name: --rejects FILE")


def _line(fault: RowFault) -> bytes:
    file = os.fsencode(fault.file).decode(errors="backslashreplace")  # JSON has no other bytes than UTF-8
    about = {"file": file, "row": fault.row, "reason": fault.reason}
    values = {name: _plain(value) for name, value in fault.values.items()}
    if REJECTED in values:  # the text of a line that could not be read
        about["line"] = values.pop(REJECTED)
    return msgspec.json.encode({REJECTED: about, **values}) + b"\n"


def _plain(value: Any) -> Any:
    """Return a value that JSON has, as load reads it for the same column; NaN becomes null."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    return value
