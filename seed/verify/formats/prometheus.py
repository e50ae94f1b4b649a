"""The report as metrics, in the text format that the textfile collector of node_exporter reads.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pgvector_seed.common.text import printable

from ..model import Report, Result
from .words import word

# From the best to the worst. One series each, as node_systemd_unit_state has: an alert names the status that it is for.
STATUSES = ("not_declared", "pass", "skip", "known", "fail")

Sample = tuple[dict[str, str], float]


def as_prometheus(report: Report) -> str:
    """Return the metrics of the checks and of the run.

    node_exporter would drop the files of all databases if two had the same series, so each names its database.
    """
    target = {"database": report.database, "server": report.server}
    worst = _worst(report.results)
    states = [
        ({**target, **labels, "status": status}, float(_status(result) == status))
        for labels, result in worst
        for status in STATUSES
    ]
    seconds = [({**target, **labels}, result.seconds) for labels, result in worst]
    return "\n".join(
        [
            *_metric("check", "Status of a check in the last run: 1 for its status, 0 for the others.", states),
            *_metric("check_duration_seconds", "Duration of a check in the last run.", seconds),
            *_metric("verify_duration_seconds", "Duration of the last run.", [(target, report.seconds)]),
            *_metric("verify_timestamp_seconds", "Unix time at the end of the last run.", [(target, report.ended)]),
            *_metric("verify_exit_code", "Exit code of the last run; 0 is success.", [(target, report.exit_code)]),
        ]
    )


def _status(result: Result) -> str:
    return word(result).replace(" ", "_")


def _worst(results: Sequence[Result]) -> list[tuple[dict[str, str], Result]]:
    """Return the results with their labels. Of several with equal labels, which no reader accepts, the worst stays."""
    series: dict[tuple[str, ...], Result] = {}
    for result in results:
        key = (result.name, result.table or "", result.column or "")
        previous = series.get(key, result)
        series[key] = max(previous, result, key=lambda other: STATUSES.index(_status(other)))
    return [(dict(zip(("check", "table", "column"), key, strict=True)), result) for key, result in series.items()]


def _metric(name: str, description: str, samples: Sequence[Sample]) -> Iterator[str]:
    if not samples:
        return
    yield f"# HELP pgvector_seed_{name} {description}"
    yield f"# TYPE pgvector_seed_{name} gauge"
    for labels, value in samples:
        pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
        yield f"pgvector_seed_{name}{{{pairs}}} {_number(value)}"


def _number(value: float) -> str:
    """Return the number with milliseconds, or as an integer."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _escape(text: str) -> str:
    """Escape the text for a label; the backslash first, as the other escapes have one."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
