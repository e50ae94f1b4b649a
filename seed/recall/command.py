"""The options and the help of ``python -m seed recall``. ``work`` runs it."""

from __future__ import annotations

import click

from pgvector_seed.common.commands import deferred


@click.command(short_help="Find the smallest ef_search or probes with the wanted recall.")
@click.option("--table", metavar="NAME", help="The table, as in SQL. [default: the contract's only one]")
@click.option("--vector", metavar="COLUMN", help="The vector column, if the table has several.")
@click.option("--metric", metavar="NAME", help="l2, ip, cosine, l1. [default: the contract's or the index's]")
@click.option(
    "-k",
    "k",
    type=click.IntRange(1, 1000),
    metavar="ROWS",
    help="Neighbors of a query. [default: the contract's, else 10]",
)
@click.option(
    "--target",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="The recall that is enough. [default: the contract's minimum, else 0.95]",
)
@click.option(
    "--queries",
    type=click.IntRange(20, 100_000),
    default=400,
    show_default=True,
    metavar="N",
    help="Queries; half of them are held back.",
)
@click.option(
    "--file", metavar="FILE", help="Take the queries from a file, as query --file. [default: near stored vectors]"
)
@click.option("--where", metavar="CONDITION", help="Search only such rows: an SQL condition with $1, $2 and so on.")
@click.option("--value", "values", multiple=True, metavar="VALUE", help="The value of $1, $2 and so on, in order.")
@click.option("--all", "all_levels", is_flag=True, help="Go on to the largest value of the setting.")
@click.option("--plot", metavar="FILE.svg", help="Draw recall against time.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; progress goes to stderr.")
@deferred
def recall() -> None:
    """Find the smallest hnsw.ef_search or ivfflat.probes with the wanted recall.

    The recall of each value is measured against an exact search. The smallest whose 99 % interval is not below the
    target is recommended, if the queries that were held back confirm it. All queries see one snapshot, with the
    rights and settings of this login, and nothing is changed.

    Without --file, a query is a stored vector, moved by the difference of two of its neighbors: a stored vector itself
    is too easy to find.

    Exit codes: 0 a value is recommended; 1 every value misses the target; 2 bad usage or bad input, or no index
    serves the search; 3 the database cannot be reached or refuses the login; 130 interrupted.

    Example: python -m seed recall --table items --target 0.98
    """
