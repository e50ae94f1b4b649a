"""Peers of `load`, run by bench.load with the interpreter of an environment of their own. Prints rows per second.

python3 -m venv peers
peers/bin/pip install adbc-driver-postgresql pyarrow numpy vecs langchain-postgres 'psycopg[binary]'
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import numpy as np

TEXT = "x" * 100


def url(driver: str) -> str:
    """Return the address of the benchmark's own server."""
    return "{driver}://{PGUSER}:{password}@{PGHOST}:{PGPORT}/{PGDATABASE}".format(
        driver=driver, password=os.environ.get("PGPASSWORD", ""), **os.environ
    )


def adbc(values: Any) -> None:
    """Fill a staging table of real[] by ADBC, and insert from it into the table: it cannot fill a vector column."""
    import adbc_driver_postgresql.dbapi as driver
    import pyarrow as pa

    lists = pa.FixedSizeListArray.from_arrays(values.ravel(), values.shape[1]).cast(pa.list_(pa.float32()))
    table = pa.table({"id": np.arange(1, len(values) + 1), "embedding": lists})
    with driver.connect(url("postgresql")) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS staging")
        cursor.adbc_ingest("staging", table, mode="create")
        cursor.execute("INSERT INTO items SELECT id, embedding::vector FROM staging")
        connection.commit()


def vecs(values: Any) -> None:
    """Upsert records with a little metadata."""
    import vecs as package

    client = package.create_client(url("postgresql"))
    client.delete_collection("peer")
    collection = client.get_or_create_collection("peer", dimension=values.shape[1])
    collection.upsert([(str(number), row, {"title": TEXT}) for number, row in enumerate(values)])


def langchain(values: Any) -> None:
    """Add embeddings that are there already, with their texts."""
    from langchain_core.embeddings import DeterministicFakeEmbedding
    from langchain_postgres import PGVector

    store = PGVector(
        embeddings=DeterministicFakeEmbedding(size=values.shape[1]),
        collection_name="peer",
        connection=url("postgresql+psycopg"),
        pre_delete_collection=True,
    )
    texts, ids = [TEXT] * len(values), [str(number) for number in range(len(values))]
    store.add_embeddings(texts, values.tolist(), [{"title": TEXT}] * len(values), ids)


def main() -> None:
    """Load the first rows of a .npy by one peer. The imports are not measured."""
    name, file, rows = sys.argv[1:]
    values = np.load(file)[: int(rows)]
    work = {"adbc": adbc, "vecs": vecs, "langchain": langchain}[name]
    modules = {"adbc": "adbc_driver_postgresql.dbapi", "vecs": "vecs", "langchain": "langchain_postgres"}
    __import__(modules[name])
    started = time.perf_counter()
    work(values)
    print(len(values) / (time.perf_counter() - started))


if __name__ == "__main__":
    main()
