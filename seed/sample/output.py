"""How the sample's answers are shown: tables for people, one JSON document for programs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from postgres.errors import Error
from seed.sample import article
from seed.sample.answers import Answers
from seed.sample.check import Check, shown


def as_json(answers: Answers, checks: list[Check]) -> str:
    """One document: the answers, the checks, and ``right``, which is true when all of them are."""
    document = {
        "right": all(check.right for check in checks),
        "rows": {id_: shown(vector) for id_, vector in answers.rows.items()},
        "nearest": answers.nearest,
        "distances": answers.distances,
        "checks": [dataclasses.asdict(check) for check in checks],
    }
    return json.dumps(document, indent=2)


def error_as_json(error: Error) -> str:
    """The document where there are no answers to judge."""
    return json.dumps({"right": False, "error": error.message, "remedy": error.remedy}, indent=2)


def print_tables(answers: Answers, checks: list[Check]) -> None:
    """The three results, and then how they compare with the article's."""
    console = Console(highlight=False)
    rows = [(str(id_), _text(vector)) for id_, vector in answers.rows.items()]
    _print_table(console, "Rows", ("id", "embedding"), rows)
    nearest = (str(answers.nearest), _text(answers.rows[answers.nearest]))
    _print_table(console, f"Nearest to {article.NEAREST_TO}", ("id", "embedding"), [nearest])
    distances = [(str(id_), repr(distance)) for id_, distance in answers.distances.items()]
    _print_table(console, f"Distances from {article.DISTANCES_FROM}", ("id", "distance"), distances)
    _print_verdict(console, checks)


def _print_verdict(console: Console, checks: list[Check]) -> None:
    wrong = [check for check in checks if not check.right]
    if not wrong:
        console.print(f"All {len(checks)} answers are the article's.", style="green")
        return
    rows = [(check.name, str(check.expected), str(check.actual)) for check in wrong]
    _print_table(console, "Wrong", ("answer", "expected", "actual"), rows)


def _print_table(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    console.print(title, table, sep="\n", markup=False)
    console.print()


def _text(vector: list[float]) -> str:
    return str(shown(vector))
