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

Sample = tuple[str, float]  # the labels, and the value


def as_prometheus(report: Report) -> str:
    """Return the metrics of the checks and of the run.

    node_exporter would drop the files of all databases if two had the same series, so each names its database.
    """
    target = _labels(database=report.database, server=report.server)
    worst = [(f"{target},{labels}", result) for labels, result in _worst(report.results).items()]
    states = [
        (f'{labels},status="{status}"', float(_status(result) == status))
        for labels, result in worst
        for status in STATUSES
    ]
    seconds = [(labels, result.seconds) for labels, result in worst]
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


def _worst(results: Sequence[Result]) -> dict[str, Result]:
    """Return the results by their labels. Of several with equal labels, which no reader accepts, the worst stays."""
    series: dict[str, Result] = {}
    for result in results:
        labels = _labels(check=result.name, table=result.table or "", column=result.column or "")
        previous = series.get(labels, result)
        series[labels] = max(previous, result, key=lambda other: STATUSES.index(_status(other)))
    return series


def _labels(**texts: str) -> str:
    return ",".join(f'{name}="{_escape(text)}"' for name, text in texts.items())


def _metric(name: str, description: str, samples: Sequence[Sample]) -> Iterator[str]:
    if not samples:
        return
    yield f"# HELP pgvector_seed_{name} {description}"
    yield f"# TYPE pgvector_seed_{name} gauge"
    for labels, value in samples:
        yield f"pgvector_seed_{name}{{{labels}}} {_number(value)}"


def _number(value: float) -> str:
    """Return the number with milliseconds, or as an integer."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _escape(text: str) -> str:
    """Escape the text for a label; the backslash first, as the other escapes have one."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
