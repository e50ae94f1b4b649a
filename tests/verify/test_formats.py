"""The report in each of its formats, with names and messages that try to break out of them."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from pgvector_seed.common.errors import Error, UnreachableError
from pgvector_seed.common.text import printable
from seed.verify import formats
from seed.verify.checks import CHECKS
from seed.verify.formats import FORMATS
from seed.verify.formats.data import as_data, as_json
from seed.verify.formats.github import as_github, step_summary
from seed.verify.formats.junit import as_junit
from seed.verify.formats.prometheus import STATUSES, as_prometheus
from seed.verify.formats.text import as_text
from seed.verify.model import Outcome, Report, Result, Status, failed, not_declared, passed, skipped
from seed.verify.verification import unreached

RUN = ("exit_code", "duration_seconds", "timestamp_seconds")
SCHEMA = json.loads(Path(str(formats.__file__)).with_name("report.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)

REMEDY = "CREATE INDEX items_embedding_idx\n  ON public.items\n  USING hnsw (embedding vector_l2_ops)"
MIXED = (
    Result("extension", None, passed("vector 0.8.4"), 0.001),
    Result("rows", "public.items", passed("5,000 rows"), 0.02),
    Result("index", "public.items", failed("an hnsw index", "no index", REMEDY), 0.03),
    Result("recall", "public.items", skipped("no index to ask"), 0.0),
    Result("rows", "sales.orders", not_declared("rows"), 0.0),
)
LOST = UnreachableError("the connection was lost", "Run it again.")
BROKEN = Report(MIXED[:1], "app on db:5432", LOST, version="0.1.0")

HOSTILE = (
    "a\nb",
    "\r\n::error::owned",
    "::error::owned",
    "  ::stop-commands::x",
    "##[add-mask]x",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "]]></failure><x>",
    "\x00",
    "a|b",
    "`````` ```\n```",
    "<img src=x>",
    "![x](http://a)",
    "\u202eltr\u2028\u2029\x85",
    "\udc80",
    "\ufffe",
    "%0A::error::owned",
    "x,file=/etc/passwd::owned",
    'a"} 1\\',
    "x" * 10_000,
)


def mixed(**changes: Any) -> Report:
    """Return a report with an outcome of every status."""
    return Report(MIXED, "app on db:5432", seconds=0.41, version="0.1.0", **changes)


def with_text(table: str, expected: str, message: str, remedy: str) -> Report:
    """Return a report with these texts in each place that can hold another role's text."""
    statuses = (Status.PASS, Status.FAIL, Status.SKIP, Status.NOT_DECLARED)
    results = [Result("rows", table, Outcome(status, expected, message, remedy), 0.1) for status in statuses]
    return Report(results, table, Error(message or "lost", remedy), version="0.1.0")


def hostile(text: str) -> Report:
    return with_text(text, text, text, text)


def cases(report: Report) -> list[ET.Element]:
    return ET.fromstring(as_junit(report)).findall("testsuite/testcase")  # noqa: S314  # our own document


# Text


def test_text_is_a_line_a_check_in_columns_and_a_failure_says_what_to_do() -> None:
    """A remedy keeps its lines, and the last line names the failed checks."""
    assert as_text(mixed()).splitlines() == [
        "verifying app on db:5432",
        "pass  extension                vector 0.8.4",
        "pass  rows       public.items  5,000 rows",
        "fail  index      public.items  no index",
        "      expected an hnsw index",
        "      to fix:",
        "        CREATE INDEX items_embedding_idx",
        "          ON public.items",
        "          USING hnsw (embedding vector_l2_ops)",
        "      see docs/verify.md#index",
        "skip  recall     public.items  no index to ask",
        "not declared for sales.orders: rows",
        "5 checks: 2 passed, 1 failed, 1 skipped, 1 not declared, in 0.4 s; wrong: index public.items",
    ]


def test_a_remedy_of_lines_as_windows_ends_them_is_shown_as_lines() -> None:
    text = as_text(Report([Result("index", None, failed("a", "b", "c\r\nd"), 0.0)]))
    assert text.splitlines()[2:5] == ["      to fix:", "        c", "        d"]


def test_text_ends_with_the_error() -> None:
    """The error that ended the run is the last line, after all checks."""
    assert as_text(BROKEN).splitlines()[-3:] == [
        "1 check: 1 passed, in 0.0 s",
        "error: the connection was lost",
        "  Run it again.",
    ]


def test_text_names_what_is_not_declared_in_one_line() -> None:
    """Regression: a contract of one table took eight lines for it, which looked like removals."""
    results = [Result(name, None, not_declared(name), 0.0) for name in ("tls", "ledger")]
    results += [Result(name, "public.items", not_declared(name), 0.0) for name in ("rows", "recall")]
    assert as_text(Report(results)).splitlines()[:-1] == ["not declared: tls, ledger, rows, recall"]


def test_a_check_of_two_vector_columns_is_named_once() -> None:
    """Regression: "not declared for public.items: index, index"."""
    *_, undeclared, _summary = as_text(two_columns()).splitlines()
    assert undeclared == "not declared: index, recall of b"


def two_columns() -> Report:
    """Return a report on two vector columns of one table, with failures of both, of one, and undeclared checks."""
    failure, nothing = failed("2 rows", "1 row", "Load it."), not_declared("this")
    outcomes = {"column": (failure, failure), "index": (nothing, nothing), "recall": (failure, nothing)}
    return Report(
        [
            Result(name, "public.items", outcome, 0.0, column, has_siblings=True)
            for name, pair in outcomes.items()
            for column, outcome in zip("ab", pair, strict=True)
        ]
    )


def test_with_two_vector_columns_every_format_says_which() -> None:
    """Regression: the last line, JSON, JUnit and GitHub named the table alone."""
    report = two_columns()
    assert as_text(report).endswith("; wrong: column public.items.a, column public.items.b, recall public.items.a")
    assert [check["column"] for check in as_data(report)["checks"]] == ["a", "b"] * 3
    assert [case.get("classname") for case in cases(report)[:2]] == ["verify.public.items.a", "verify.public.items.b"]
    assert "::error title=recall public.items.a::" in as_github(report)
    assert "| fail | recall | public.items.a | 1 row |" in step_summary(report)


@pytest.mark.parametrize("strict", [False, True])
def test_text_without_a_connection_tells_the_reason_once(strict: bool) -> None:
    """Regression: the reason stood there twice, with a line for each of the 14 checks that were skipped."""
    refused = UnreachableError("no route", "Check PGHOST.")
    report = Report(unreached(list(CHECKS), refused), failure=refused, strict=strict)
    assert as_text(report).splitlines() == ["0 checks: none was run, in 0.0 s", "error: no route", "  Check PGHOST."]
    assert len(as_data(report)["checks"]) == len(cases(report)) - 1 == len(CHECKS)


def test_text_of_a_connection_that_was_lost_has_the_results_until_then() -> None:
    """The checks that could not be made any more are counted, and do not repeat the error."""
    lost = [Result(name, None, skipped(LOST.message), 0.0) for name in ("plan", "recall")]
    report = Report([*MIXED[:2], *lost], "app on db:5432", LOST)
    assert as_text(report).splitlines() == [
        "verifying app on db:5432",
        "pass  extension                vector 0.8.4",
        "pass  rows       public.items  5,000 rows",
        "4 checks: 2 passed, 2 skipped, in 0.0 s",
        "error: the connection was lost",
        "  Run it again.",
    ]


def test_text_of_a_run_that_never_began_says_so() -> None:
    assert as_text(Report([], failure=UnreachableError("no route"))).splitlines() == [
        "0 checks: none was run, in 0.0 s",
        "error: no route",
    ]


def test_strict_names_skips_as_wrong() -> None:
    assert as_text(mixed(strict=True)).endswith("; wrong: index public.items, recall public.items")


def test_colours_change_no_word() -> None:
    """The columns are as wide as without colours."""
    coloured = as_text(mixed(), color=True)
    assert click.style("pass", fg="green") in coloured
    assert click.style("fail", fg="red") in coloured
    assert click.style("skip", fg="yellow") in coloured
    assert click.style("not declared for sales.orders: rows", dim=True) in coloured
    assert click.unstyle(coloured) == as_text(mixed())


def test_a_very_long_name_moves_its_own_line_only() -> None:
    """A name of 10,000 characters does not widen the other lines."""
    report = Report([Result("rows", "x" * 10_000, passed("1 row"), 0.0), *MIXED])
    assert all(len(line) < 120 for line in as_text(report).splitlines()[1:])


# JSON


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("report", [mixed(), mixed(strict=True), BROKEN, Report([])])
def test_json_is_what_its_schema_says(report: Report) -> None:
    VALIDATOR.validate(json.loads(as_json(report)))


def test_json_has_every_fact() -> None:
    document = json.loads(as_json(mixed()))
    assert document["checks"][0]["table"] is None
    assert document["checks"][2] == {
        "name": "index",
        "table": "public.items",
        "column": None,
        "status": "fail",
        "expected": "an hnsw index",
        "found": "no index",
        "remedy": REMEDY,
        "section": "docs/verify.md#index",
        "known": None,
        "seconds": 0.03,
    }
    del document["checks"]
    assert document == {
        "version": 1,
        "tool": "0.1.0",
        "subject": "app on db:5432",
        "right": False,
        "strict": False,
        "seconds": 0.41,
        "error": None,
        "remedy": None,
    }


def test_right_is_what_the_exit_code_says() -> None:
    skips = [result for result in MIXED if result.outcome.status is not Status.FAIL]
    assert as_data(Report(skips))["right"] is True
    assert as_data(Report(skips, strict=True))["right"] is False
    assert as_data(BROKEN)["right"] is False


def _unknown_key(document: dict[str, Any]) -> None:
    document["more"] = 1


def _unknown_key_of_a_check(document: dict[str, Any]) -> None:
    document["checks"][0]["more"] = 1


def _wrong_status(document: dict[str, Any]) -> None:
    document["checks"][0]["status"] = "passed"


def _wrong_name(document: dict[str, Any]) -> None:
    document["checks"][0]["name"] = "Rows\n"


def _empty_table(document: dict[str, Any]) -> None:
    document["checks"][0]["table"] = ""


def _other_version(document: dict[str, Any]) -> None:
    document["version"] = 2


FAULTS = (_unknown_key, _unknown_key_of_a_check, _wrong_status, _wrong_name, _empty_table, _other_version)


@pytest.mark.parametrize("spoil", FAULTS)
def test_the_schema_refuses(spoil: Callable[[dict[str, Any]], None]) -> None:
    """The schema refuses invalid reports."""
    document = copy.deepcopy(as_data(mixed()))
    spoil(document)
    with pytest.raises(ValidationError):
        VALIDATOR.validate(document)


@pytest.mark.parametrize("key", [*as_data(mixed()), *as_data(mixed())["checks"][0]])
def test_the_schema_refuses_a_missing_key(key: str) -> None:
    document = as_data(mixed())
    for owner in (document, *document["checks"]):
        without = {name: value for name, value in owner.items() if name != key}
        if without != owner:
            spoilt = without if owner is document else {**document, "checks": [without]}
            with pytest.raises(ValidationError):
                VALIDATOR.validate(spoilt)


# JUnit


def test_junit_has_a_case_a_check_and_counts_them() -> None:
    suite = ET.fromstring(as_junit(mixed()))[0]  # noqa: S314  # our own document
    assert suite.attrib == {
        "name": "seed verify",
        "tests": "5",
        "failures": "1",
        "errors": "0",
        "skipped": "2",
        "time": "0.410",
    }
    assert [(case.get("classname"), case.get("name"), [child.tag for child in case]) for case in suite] == [
        ("verify", "extension", []),
        ("verify.public.items", "rows", []),
        ("verify.public.items", "index", ["failure"]),
        ("verify.public.items", "recall", ["skipped"]),
        ("verify.sales.orders", "rows", ["skipped"]),
    ]


def test_junit_shows_what_was_found_expected_and_to_do() -> None:
    """Message and text both have the details: Jenkins shows the first, GitLab the second."""
    failure = cases(mixed())[2][0]
    assert failure.get("message") == "no index"
    assert (failure.text or "").splitlines()[:4] == [
        "found no index",
        "expected an hnsw index",
        "to fix:",
        "  CREATE INDEX items_embedding_idx",
    ]
    assert cases(mixed())[3][0].get("message") == "no index to ask"


def test_junit_of_a_strict_report_fails_skips_but_not_what_is_not_declared() -> None:
    tags = [[child.tag for child in case] for case in cases(mixed(strict=True))]
    assert tags == [[], [], ["failure"], ["failure"], ["skipped"]]


def test_junit_has_a_case_for_the_error() -> None:
    """A run that ended early has a failed test case, even if all completed checks passed."""
    last = cases(BROKEN)[-1]
    assert (last.get("name"), last[0].tag, last[0].get("message")) == ("run", "error", "the connection was lost")
    assert last[0].text == "to fix: Run it again."


# GitHub


def test_github_annotates_what_is_wrong_and_warns_of_skips() -> None:
    remedy = REMEDY.replace("\n", "%0A  ") + "%0Asee docs/verify.md#index"
    assert as_github(mixed()).splitlines() == [
        f"::error title=index public.items::no index%0Aexpected an hnsw index%0Ato fix:%0A  {remedy}",
        "::warning title=recall public.items::no index to ask",
        f"::notice title=seed verify::{as_text(mixed()).splitlines()[-1]}",
    ]


def test_github_fails_skips_of_a_strict_report() -> None:
    assert "::error title=recall public.items::no index to ask" in as_github(mixed(strict=True)).splitlines()


def test_github_annotates_the_error() -> None:
    lines = as_github(BROKEN).splitlines()
    assert lines[0] == "::error title=seed verify::the connection was lost%0Ato fix: Run it again."


def test_github_escapes_what_would_add_a_property_or_end_the_title() -> None:
    report = Report([Result("rows", "x,file=a::b%", failed("", "100%", "c"), 0.0)])
    expected = "::error title=rows x%2Cfile=a%3A%3Ab%25::100%25%0Ato fix: c%0Asee docs/verify.md#rows"
    assert as_github(report).splitlines()[0] == expected


def test_github_titles_a_check_of_the_whole_database_by_its_name_and_cuts_a_long_title() -> None:
    """A title is cut to the length that GitHub accepts."""
    outcome = failed("a", "b", "c")
    lines = as_github(Report([Result("extension", None, outcome, 0.0), Result("rows", "x" * 300, outcome, 0.0)]))
    assert re.findall("^::error title=(.*?)::", lines, re.MULTILINE) == ["extension", f"rows {'x' * 250}"]


def test_step_summary_is_a_table_and_the_remedies() -> None:
    text = step_summary(mixed())
    assert text.startswith("### seed verify: failed\n\napp on db:5432\n\n| status | check | table | found |\n")
    assert "\n| fail | index | public.items | no index |\n" in text
    fix = f"To fix index public.items (expected an hnsw index):\n\n```\n{REMEDY}\n```\n"
    assert f"{fix}\nSee docs/verify.md&#35;index\n" in text
    assert step_summary(Report(MIXED[:2])).startswith("### seed verify: passed\n")


def test_step_summary_has_the_error() -> None:
    assert "error: the connection was lost\n\n```\nRun it again.\n```\n" in step_summary(BROKEN)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_of_the_step_summary_breaks_out(text: str) -> None:
    """Pipes, newlines and tags in a name add no columns, rows or HTML."""
    rows = [line for line in step_summary(hostile(text)).splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 4
    assert {row.count("|") for row in rows} == {5}
    assert not re.search(r"[<`\[]", "".join(rows))


def test_the_fence_is_longer_than_what_it_holds() -> None:
    report = Report([Result("rows", None, failed("", "", "a\n`````\nb"), 0.0)])
    assert "\n``````\na\n`````\nb\n``````\n" in step_summary(report)


# Prometheus

COMMENT = re.compile(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)")
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{(.*)\} ([0-9]+(?:\.[0-9]+)?)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
Labels = frozenset[tuple[str, str]]


def metrics(report: Report) -> dict[str, dict[Labels, float]]:
    """Return the values by metric and labels. Fails if node_exporter would not read the document.

    It wants HELP and TYPE before the samples of a metric, these together and each once, and no timestamps.
    """
    values: dict[str, dict[Labels, float]] = {}
    described: dict[str, list[str]] = {}
    for line in as_prometheus(report).split("\n"):
        if comment := COMMENT.fullmatch(line):
            kind, name, text = comment.groups()
            described.setdefault(name, []).append(kind)
            assert name not in values
            assert kind == "HELP" or text == "gauge"
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            name = sample[1]
            assert (name, ["HELP", "TYPE"]) == (list(described)[-1], described[name])
            labels = labels_in(sample[2])
            assert labels not in values.setdefault(name, {}), "a series occurs once"
            values[name][labels] = float(sample[3])
    return values


def labels_in(text: str) -> Labels:
    """Return the labels of a sample, without their escapes."""
    assert LABEL.sub("", text) == ""
    pairs = [
        (name, re.sub(r"\\(.)", lambda match: match[1].replace("n", "\n"), raw)) for name, raw in LABEL.findall(text)
    ]
    assert len(dict(pairs)) == len(pairs)
    return frozenset(pairs)


ADDRESS = {"database": "app", "server": "db:5432"}


def series(**labels: str) -> Labels:
    return frozenset({**ADDRESS, **labels}.items())


def test_prometheus_has_a_series_for_each_status() -> None:
    report = mixed(**ADDRESS, ended=1764385200.5)
    values = metrics(report)
    statuses = {"pass": "rows", "fail": "index", "skip": "recall"}
    for check in statuses.values():
        of_check = {"check": check, "table": "public.items", "column": ""}
        states = {name: values["pgvector_seed_check"][series(**of_check, status=name)] for name in STATUSES}
        assert states == {name: float(statuses.get(name) == check) for name in STATUSES}
    of_database = {"check": "extension", "table": "", "column": ""}
    assert values["pgvector_seed_check_duration_seconds"][series(**of_database)] == 0.001
    assert {name: values[f"pgvector_seed_verify_{name}"][series()] for name in RUN} == {
        "exit_code": 1,
        "duration_seconds": 0.41,
        "timestamp_seconds": 1764385200.5,
    }


def test_prometheus_of_a_run_without_checks_has_the_exit_code() -> None:
    values = metrics(Report([], failure=LOST, **ADDRESS))  # type: ignore[arg-type]
    assert values["pgvector_seed_verify_exit_code"] == {series(): 3}
    assert set(values) == {f"pgvector_seed_verify_{name}" for name in RUN}


def test_prometheus_has_each_series_once_and_of_two_the_worst() -> None:
    """A contract may name a column twice; node_exporter refuses all files if one series is in them twice."""
    results = [Result("rows", "t", outcome, 0.0, "a") for outcome in (passed("1"), failed("", "0", ""), passed("1"))]
    states = metrics(Report(results, **ADDRESS))["pgvector_seed_check"]  # type: ignore[arg-type]
    assert states[series(check="rows", table="t", column="a", status="fail")] == 1
    assert len(states) == len(STATUSES)


@pytest.mark.parametrize("text", HOSTILE)
def test_prometheus_keeps_a_hostile_name(text: str) -> None:
    """The value of a label is the name as the other formats print it."""
    report = Report([Result("rows", text, passed("1 row"), 0.0, text)], database=text, server="db:5432")
    tables = {dict(labels)["table"] for labels in metrics(report)["pgvector_seed_check"]}
    assert tables == {printable(text)}


# All of them

ours = st.lists(st.sampled_from(HOSTILE[:-1]) | st.characters(), max_size=8).map("".join)


def commands(text: str) -> list[str]:
    """Return the lines that GitHub's runner executes: blanks may precede ``::``, and ``##[`` may be anywhere."""
    return [line for line in re.split(r"[\r\n]", text) if line.lstrip().startswith("::") or "##[" in line]


def assert_unbroken(report: Report) -> None:
    """Assert the structure of the report in each format."""
    document = json.loads(as_json(report).encode())
    assert document == as_data(report)
    VALIDATOR.validate(document)
    assert len(cases(report)) == len(report.results) + 1
    github = as_github(report)
    assert len(github.splitlines()) == len(commands(github)) == 4  # a failure, a skip, the error, the summary
    assert [re.match("::[a-z]+ ", line).group() for line in commands(github)] == [  # type: ignore[union-attr]
        "::error ",
        "::warning ",
        "::error ",
        "::notice ",
    ]
    assert commands(as_text(report)) == commands(as_prometheus(report)) == []
    assert metrics(report)
    for text in (
        as_text(report),
        github,
        step_summary(report),
        as_json(report),
        as_junit(report),
        as_prometheus(report),
    ):
        assert text.encode()
        assert all(char.isprintable() or char == "\n" for char in text)


@given(ours, ours, ours, ours)
def test_no_text_of_others_breaks_a_format(table: str, expected: str, message: str, remedy: str) -> None:
    """A table's name adds no line, command or tag, and moves no cursor."""
    assert_unbroken(with_text(table, expected, message, remedy))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_hostile_text_breaks_a_format(text: str) -> None:
    assert_unbroken(hostile(text))


@given(st.text())
def test_json_keeps_every_text_that_utf8_can_hold(text: str) -> None:
    """JSON has names unescaped, for programs."""
    check = json.loads(as_json(hostile(text)))["checks"][0]
    assert (check["table"] or "", check["found"], check["remedy"]) == (text, text, text)


def test_a_lone_surrogate_is_spelled_out() -> None:
    assert json.loads(as_json(hostile("a\udc80")))["subject"] == r"a\udc80"


def test_text_shows_controls_as_escapes() -> None:
    assert r"pass  rows  a\nb\x1b[2J" in as_text(Report([Result("rows", "a\nb\x1b[2J", passed("1 row"), 0.0)]))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_ends_without_a_newline(name: str) -> None:
    """The final newline is left to the caller."""
    text = FORMATS[name](mixed())
    assert text == text.rstrip()
