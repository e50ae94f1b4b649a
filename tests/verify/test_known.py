"""The failures of an earlier report: told, and no reason to fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pgvector_seed.common.errors import InputError
from seed.verify.formats import FORMATS
from seed.verify.formats.data import as_json
from seed.verify.formats.github import step_summary
from seed.verify.known import read_known, with_known
from seed.verify.model import Outcome, Report, Result, failed, not_declared, passed, skipped
from tests.conftest import ask
from tests.verify.test_command import FILE, document, run, statuses
from tests.verify.test_formats import VALIDATOR, cases

FAILURE = failed("5 rows", "4 rows", "Load them.")


def report(*outcomes: Outcome, strict: bool = False, column: str | None = None) -> Report:
    """Return a report with these outcomes of the checks rows, index and recall of one table."""
    names = ("rows", "index", "recall")
    results = [Result(name, "t", outcome, 0.0, column) for name, outcome in zip(names, outcomes, strict=False)]
    return Report(results, strict=strict)


def after(earlier: Report, later: Report, folder: Path) -> Report:
    """Return the later report with what the earlier one makes known."""
    file = folder / "known.json"
    file.write_text(as_json(earlier))
    return with_known(later, read_known(str(file)), "known.json")


@pytest.mark.parametrize(
    ("before", "now", "strict", "code"),
    [
        (FAILURE, FAILURE, False, 0),
        (FAILURE, failed("5 rows", "3 rows", "Load them."), True, 0),
        (passed("5 rows"), FAILURE, False, 1),
        (not_declared("rows"), FAILURE, False, 1),
        (skipped("locked"), FAILURE, False, 1),
        (skipped("locked"), skipped("after index"), True, 0),
        (FAILURE, skipped("locked"), True, 0),
        (passed("5 rows"), skipped("locked"), True, 1),
        (FAILURE, passed("5 rows"), True, 0),
    ],
)
def test_only_what_is_worse_than_before_fails(
    before: Outcome, now: Outcome, strict: bool, code: int, tmp_path: Path
) -> None:
    assert after(report(before), report(now, strict=strict), tmp_path).exit_code == code


def test_another_check_table_or_column_is_not_known(tmp_path: Path) -> None:
    earlier = report(FAILURE, passed("fine"), column="a")
    assert after(earlier, report(FAILURE, FAILURE, column="a"), tmp_path).wrong[0].name == "index"
    assert after(earlier, report(FAILURE, column="b"), tmp_path).exit_code == 1
    elsewhere = Report([Result("rows", "other", FAILURE, 0.0, "a")])
    assert after(earlier, elsewhere, tmp_path).exit_code == 1


def told(tmp_path: Path) -> Report:
    """Return a report with a known failure, a known one of another message, and a mended one."""
    changed = failed("an index", "another fault", "Build it.")
    earlier = report(FAILURE, failed("an index", "no index", "Build it."), failed("0.9", "0.8", "Rebuild it."))
    return after(earlier, report(FAILURE, changed, passed("0.95")), tmp_path)


def test_text_tells_what_is_known_what_has_changed_and_what_is_mended(tmp_path: Path) -> None:
    """A fault that is new in a known check is not hidden behind the old one."""
    assert FORMATS["text"](told(tmp_path)).splitlines() == [
        "known  rows    t  4 rows",
        "      expected 5 rows",
        "      to fix: Load them.",
        "      see docs/verify.md#rows",
        "known  index   t  another fault",
        "      earlier no index",
        "      expected an index",
        "      to fix: Build it.",
        "      see docs/verify.md#index",
        "pass   recall  t  0.95",
        "mended since known.json: recall t; to renew it: --format json --output FILE",
        "3 checks: 1 passed, 2 known, in 0.0 s",
    ]


def test_every_format_tells_what_is_known(tmp_path: Path) -> None:
    known = told(tmp_path)
    data = json.loads(as_json(known))
    VALIDATOR.validate(data)
    assert [check["status"] for check in data["checks"]] == ["fail", "fail", "pass"]
    assert [check["known"] for check in data["checks"]] == ["4 rows", "no index", "0.8"]
    assert data["right"] is True
    skips = [case.find("skipped") for case in cases(known)]
    assert [skip.get("message") for skip in skips if skip is not None] == ["known: 4 rows", "known: another fault"]
    assert "mended since known.json: recall t" in FORMATS["junit"](known)
    commands = FORMATS["github"](known).splitlines()
    assert commands[1].startswith("::warning title=index t::known: another fault%0Aearlier no index%0A")
    assert commands[2].startswith("::notice title=seed verify::mended since known.json: recall t")
    assert "| known | index | t | another fault |" in step_summary(known)
    assert "mended since" in step_summary(known)


def _document(**changes: Any) -> str:
    return json.dumps(json.loads(as_json(report(FAILURE))) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a report of verify in JSON"),
        ("[]", "is not a report of verify in JSON"),
        ('{"contract": 1}', "is not a report of verify in JSON"),
        (_document(version=2), "is not a report of verify in JSON"),
        (_document(checks=[{"name": "rows"}]), "is not a report of verify in JSON"),
        (_document(error="no route"), "ended early: no route"),
    ],
)
def test_a_file_that_tells_no_failures_is_refused(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_known(str(file))


def test_a_file_that_is_no_text_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b'{"version": "\xff"}')
    for name in ("binary", "missing", "."):
        with pytest.raises(InputError):
            read_known(str(tmp_path / name))


def test_a_report_without_columns_still_counts(tmp_path: Path) -> None:
    """An earlier version's report has no key ``column``, and its failures of the whole database are known."""
    checks = [{"name": "tls", "table": None, "status": "fail", "found": "no TLS"}]
    (tmp_path / "known.json").write_text(_document(checks=checks))
    later = Report([Result("tls", None, failed("TLS", "no TLS", ""), 0.0)])
    assert with_known(later, read_known(str(tmp_path / "known.json")), "known.json").exit_code == 0


@pytest.mark.newest
def test_verify_is_adopted_on_a_database_that_is_not_clean(base: str, tmp_path: Path) -> None:
    """The known failure and the checks that are skipped after it pass, also strictly; a new failure does not."""
    ask(base, "DROP INDEX items_embedding_hnsw")
    file = str(tmp_path / "known.json")
    words = ("--contract", FILE, "--only", "index,rows,plan", "--format", "json")
    assert run(base, *words, "--output", file).returncode == 1
    done = run(base, *words, "--known", file, "--strict")
    assert (done.returncode, statuses(document(done))["index"]) == (0, "fail")
    ask(base, "DELETE FROM items")
    again = run(base, *words, "--known", file)
    assert (again.returncode, statuses(document(again))["rows"]) == (1, "fail")


@pytest.mark.newest
def test_a_bad_file_is_exit_2_with_a_document(base: str) -> None:
    done = run(base, "--contract", FILE, "--known", FILE, "--format", "json")
    assert (done.returncode, document(done)["checks"]) == (2, [])
    assert "is not a report of verify in JSON" in document(done)["error"]
