"""Compare a load by many workers with one by threads, and count the loads that end exact after kills.

``python -m bench.scale [--rounds N] [--tries N] [--before CHECKOUT]``, on a server of its own. A ratio is the other's
time to ours: more is better for us. A count is of the tries after which the table had exactly the vectors of the file.
``--before`` is a checkout without Dask, with which the start of `load` is compared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from bench import scale_dask, scale_shards
from bench.indexes import compare
from bench.measure import own_server

Rounds = list[tuple[float, float]]
RESULTS = Path(__file__).parent / "results" / "scale.json"

# The name, the dimensions, the function that returns the other's times and ours, and the target of the ratio.
COMPARISONS: list[tuple[str, int, Callable[[Path, int], Rounds], float]] = [*scale_dask.COMPARISONS]
# The name, and the function that makes one try in a folder and returns True if it was exact.
EXACT: list[tuple[str, Callable[[Path, int], bool]]] = [*scale_dask.EXACT, *scale_shards.EXACT]


def count_exact(name: str, attempt: Callable[[Path, int], bool], folder: Path, tries: int) -> dict[str, Any]:
    """Print the number of exact tries, and return it for the results. All must be exact."""
    exact = sum(attempt(folder, number) for number in range(tries))
    print(f"{name:50} {exact} of {tries} exact: {'met' if exact == tries else 'MISSED'}", flush=True)
    return {"name": name, "exact": exact, "tries": tries}


def main() -> None:
    """Print the table, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="the version without Dask")
    options = parser.parse_args()
    with own_server() as folder:
        folder.chmod(0o755)
        with psycopg.connect(autocommit=True) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        results = []
        for name, dimensions, work, target in COMPARISONS:
            results.append(compare(name, dimensions, work(folder, options.rounds), target))
            write(results)  # also if a later one is interrupted
        if options.before:
            times = scale_shards.start_times(folder, 3 * options.rounds, options.before)
            results.append(compare(scale_shards.START, scale_shards.DIMENSIONS, times, 1.0))
            write(results)
        for name, attempt in EXACT:
            results.append(count_exact(name, attempt, folder, options.tries))
            write(results)


def write(results: list[dict[str, Any]]) -> None:
    """Write the results so far."""
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
