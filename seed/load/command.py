"""The options and the help of ``python -m seed load``. ``work`` runs it."""

from __future__ import annotations

import click

from pgvector_seed.common.commands import deferred


@click.command(short_help="Load files of vectors into a table.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--table", metavar="NAME", help="The table, as in SQL. [default: the contract's only one]")
@click.option("--vector", metavar="COLUMN", help="The vector column, if the table has several.")
@click.option(
    "--map",
    "columns",
    multiple=True,
    metavar="FILE_COLUMN=TABLE_COLUMN",
    help="Load a column of the file into another one of the table; FILE_COLUMN= leaves it out. Can be repeated.",
)
@click.option("--ids", metavar="FILE.npy", help="The keys of the rows, for files that have vectors alone.")
@click.option("--number-from", type=int, metavar="N", help="Number the rows from N, and use that as their keys.")
@click.option("--replace", is_flag=True, help="Overwrite the values that differ in existing rows.")
@click.option("--keep", is_flag=True, help="Skip every row whose key exists, without comparing its values.")
@click.option("--rejects", metavar="FILE", help="Write bad rows to this file, as JSON lines, and load the others.")
@click.option("--jobs", type=click.IntRange(1, 64), metavar="N", help="Connections at once. [default: 1]")
@click.option("--shard", metavar="I/N", help="Load every Nth part of the files, from the Ith, which counts from 0.")
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Load by the workers of a Dask scheduler, such as tcp://HOST:8786; or local: by --jobs processes of this "
    "machine, by default one for each core.",
)
@click.option("--dry-run", is_flag=True, help="Read and check the files, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
@deferred
def load() -> None:
    """Load files of vectors into a table: .npy, .parquet, .jsonl, .csv, .fvecs, .bvecs, .hdf5.

    JSON Lines and CSV may end with .gz or .zst, or come from standard input (-). Files may be patterns in quotes, and
    in an object store: s3://BUCKET/KEY, gs://BUCKET/KEY, with the credentials of the environment.

    It can be run again at any time, also after a kill: existing rows are compared, missing rows are copied, and
    a row with other values is refused, unless --replace or --keep is given.

    With --dask, each worker connects by its own environment (PGHOST, PGPASSFILE and the others), and reads the files
    by the same names. What a killed worker had, another one loads.

    Exit codes: 0 all rows are in the table; 1 rows were rejected or refused, or have other values in the table, or
    Dask's scheduler was lost; 2 bad usage, a bad file or a bad row, or no scheduler at ADDRESS; 3 the database cannot
    be reached or refuses the login; 130 interrupted.

    Example: python -m seed load items.jsonl --table items
    """
