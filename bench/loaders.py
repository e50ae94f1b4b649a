"""The loaders that ``bench.load`` compares: ours, the server's COPY, pgvector-python and the peers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from pgvector import Vector
from pgvector.psycopg import register_vector

from pgvector_seed.data.bind import LoadOptions
from pgvector_seed.data.load import load_files
from pgvector_seed.data.rows import Rows
from pgvector_seed.data.summary import Work
from pgvector_seed.vectors.frames import Buffer

ROWS = {128: 300_000, 1536: 20_000}  # by dimensions
SLOW = {"executemany": 20, "adbc": 4, "vecs": 100, "langchain": 100}  # these get one of so many rows
PEERS = Path(__file__).with_name("load_peers.py")
COPY = "COPY items (id, embedding) FROM STDIN (FORMAT binary)"


@dataclass(frozen=True)
class Bench:
    """The loaders, and their files, for one number of dimensions. Each loader returns its number of rows."""

    folder: Path
    dimensions: int
    peers: str | None

    @property
    def rows(self) -> int:
        """The number of rows in the file."""
        return ROWS[self.dimensions]

    @property
    def file(self) -> Path:
        """The vectors."""
        return self.folder / f"{self.dimensions}.npy"

    def write(self) -> None:
        """Write the vectors, and the same rows as a file for the server's own COPY."""
        dice = np.random.default_rng(1)
        values = dice.random((self.rows, self.dimensions), np.float32)
        np.save(self.file, values)
        self.binary.write_bytes(b"".join(self.encoded(values, 1)))
        self.binary.chmod(0o644)

    @property
    def binary(self) -> Path:
        """The rows in COPY's format."""
        return self.file.with_suffix(".copy")

    def encoded(self, values: Any, first: int) -> tuple[Buffer, ...]:
        """Return header, rows and trailer in COPY's format."""
        ids = np.arange(first, first + len(values))
        fixed = {"id": ("int8", ids), "embedding": ("vector", values)}
        return Rows("", ids, fixed, {}).encode()

    def limit(self) -> int:
        """Let the server read the file itself."""
        with psycopg.connect() as connection:
            connection.execute(f"COPY items FROM '{self.binary}' (FORMAT binary)".encode())
        return self.rows

    def frames(self) -> int:
        """Send blocks of 4 MB in one COPY."""
        values = np.load(self.file, mmap_mode="r")
        step = (4 << 20) // (4 * self.dimensions)
        with psycopg.connect() as connection, connection.cursor().copy(COPY) as copy:
            for start in range(0, self.rows, step):
                header, rows, trailer = self.encoded(values[start : start + step], start + 1)
                copy.write(rows if start else bytes(header) + bytes(rows))
            copy.write(trailer)
        return self.rows

    def load(self, jobs: int = 1, **options: Any) -> int:
        """Run our load, with its checks and what it does afterwards, but without the start of the interpreter."""
        return load_files([str(self.file)], LoadOptions("items", number_from=1, **options), work=Work(jobs)).rows

    def write_row(self) -> int:
        """Load as pgvector-python documents it."""
        values = np.load(self.file)
        with psycopg.connect() as connection:
            register_vector(connection)
            with connection.cursor().copy(COPY) as copy:
                copy.set_types(["int8", "vector"])
                for id_, row in enumerate(values, start=1):
                    copy.write_row((id_, Vector(row)))
        return self.rows

    def executemany(self) -> int:
        """Insert single rows, pipelined and binary."""
        values = np.load(self.file)[: self.rows // SLOW["executemany"]]
        with psycopg.connect() as connection:
            register_vector(connection)
            rows = [(id_, Vector(row)) for id_, row in enumerate(values, start=1)]
            connection.cursor().executemany("INSERT INTO items VALUES (%b, %b)", rows)
        return len(values)

    def peer(self, name: str) -> Callable[[], float]:
        """Return a function that has a peer report its rows per second."""

        def run() -> float:
            words = [str(self.peers), str(PEERS), name, str(self.file), str(self.rows // SLOW[name])]
            return float(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])

        return run
