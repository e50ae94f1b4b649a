"""The options and the help of ``python -m seed query``. ``work`` runs it."""

from __future__ import annotations

import click

from pgvector_seed.common.commands import deferred


@click.command(short_help="Find the rows that are nearest to a vector.")
@click.argument("vector", metavar="[VECTOR]", required=False)
@click.option("--id", "id_", metavar="ID", help="Ask by the stored vector of this row.")
@click.option("--sum", "sum_", metavar="TERMS", help="Ask by a sum of stored vectors: 'king - man + woman'.")
@click.option("--file", metavar="FILE", help="Ask by every vector of a file: .npy or .jsonl; - is standard input.")
@click.option("--table", metavar="NAME", help="The table, as in SQL. [default: the contract's only one]")
@click.option("--vector", "column", metavar="COLUMN", help="The vector column, if the table has several.")
@click.option(
    "--metric",
    metavar="NAME",
    help="l2, ip, cosine or l1; hamming or jaccard for bits. [default: the contract's, or the index's]",
)
@click.option("-k", type=click.IntRange(min=1), metavar="K", default=10, help="Rows to find. [default: 10]")
@click.option("--where", metavar="CONDITION", help="Search only rows that pass this SQL condition, with $1, $2, ...")
@click.option("--value", "values", metavar="VALUE", multiple=True, help="The value of $1; again for $2, and so on.")
@click.option("--key", metavar="COLUMN", help="The column of --id and --sum. [default: the primary key]")
@click.option(
    "--columns", metavar="NAME,...", multiple=True, help="The columns to show. [default: all but the vectors]"
)
@click.option("--exact", is_flag=True, help="Search all rows, without an index, for 30 s at most.")
@click.option("--no-exact", is_flag=True, help="Do not search all rows if the index gives fewer than k.")
@click.option("--ef-search", type=click.IntRange(1, 1000), metavar="N", help="hnsw.ef_search for this search.")
@click.option("--probes", type=click.IntRange(1, 32768), metavar="N", help="ivfflat.probes for this search.")
@click.option("--explain", is_flag=True, help="Say which index serves the search, or why none does.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with all values complete; notes are in it.")
@deferred
def query() -> None:
    """Find the rows that are nearest to a vector, nearest first.

    VECTOR is pgvector's text: '[0.3, 0.1, 0.6, 0.5]'; '{1:0.5,3:2}/4' for sparsevec, 0101 for bit. Give one of VECTOR,
    --id, --sum and --file. --id and --sum leave the rows they name out of the answer. In --sum, + and - need spaces
    around them, and a term with spaces needs quotes: "'new york' - york".

    --where is SQL as in psql. It is one condition in a read-only transaction, with the rights of this login. Put no
    value into it: write $1 and give --value.

    If an index gives fewer than k rows, all rows are searched, for 30 s at most, and a note says so.

    --file has a row of an array, or a line of JSON Lines, for each query: [0.3, 0.1] or {"vector": [0.3, 0.1]}. The
    answers come in the order of the queries, with --json as one object in each line.

    The distance of ip is the negative inner product. With --json, `exact` is true if all rows were searched.

    Exit codes: 0 answered, also if no row was found; 1 the server failed, or stopped the search; 2 bad usage or bad
    input; 3 the database cannot be reached or refuses the login; 130 interrupted.

    Example: python -m seed query --table items --id 2 -k 5
    """
