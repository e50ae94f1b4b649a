"""Print the words nearest to a sum: python -m examples.words.ask 'king - man + woman'."""

from __future__ import annotations

import click

from examples.words.picture import nearest_to_sum
from pgvector_seed.common.console import run
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.errors import translated


@click.command()
@click.argument("sum_", metavar="SUM")
def cli(sum_: str) -> None:
    """Print the three nearest words."""
    with connect() as connection, translated("searching"):
        for neighbor in nearest_to_sum(connection, sum_):
            print(f"{neighbor.columns['word']:<12} {neighbor.distance:.3f}")


if __name__ == "__main__":
    run("__main__")
