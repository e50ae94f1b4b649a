"""examples/pipeline.sh on the real engine: its steps, its refusals and its reports."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from local.server import Server
from tests.conftest import PASSWORD, ask
from tests.e2e.conftest import NOTHING, WHAT_IS_THERE, Stack, readme_block, run
from tests.e2e.roles import declare
from tests.roles import Names, quoted
from tests.tls import encrypted

SCRIPT = "examples/pipeline.sh"


def pipeline(stack: Stack, *words: str, code: int = 0, **settings: str) -> str:
    """Run the script, assert its exit code and that no password is shown or stored, and return its output."""
    done = run([SCRIPT, *words], stack.folder, **{**stack.settings, **settings})
    assert done.returncode == code, done.stdout
    reports = [path.read_text() for path in (stack.folder / "reports").glob("*")]
    assert all(PASSWORD not in text for text in (done.stdout, *reports))
    return done.stdout


def failures(stack: Stack, name: str = "junit") -> list[str]:
    """Return the failed checks of a JUnit report."""
    suite = ET.parse(stack.folder / "reports" / f"{name}.xml")  # noqa: S314  # our own report
    return [case.attrib["name"] for case in suite.iter("testcase") if case.find("failure") is not None]


def test_preview_changes_nothing_and_keeps_its_text(stack: Stack) -> None:
    output = pipeline(stack, "preview")
    assert "7 to create" in output
    assert (stack.folder / "reports" / "preview.txt").read_text() == output
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def test_deploy_and_again(stack: Stack, tmp_path: Path) -> None:
    """A second deploy changes nothing, and git ignores all reports."""
    summary = tmp_path / "summary.md"
    first = pipeline(stack, "deploy", GITHUB_STEP_SUMMARY=str(summary))
    assert "0001_create_embeddings applied in" in first
    assert "All 7 answers are the article's." in first
    assert "::notice title=seed verify::" in first
    assert "### seed verify: passed" in summary.read_text()
    assert failures(stack) == []
    second = pipeline(stack, "deploy")
    assert "7 unchanged" in second
    assert "::notice" not in second
    assert "reports" not in run(["git", "status", "--porcelain"], stack.folder).stdout


def test_the_documented_commands(stack: Stack) -> None:
    done = run(["bash", "-euc", readme_block("run: pipeline.sh", "docs/pipelines.md")], stack.folder, **stack.settings)
    assert done.returncode == 0, done.stdout
    assert "7 to create" in done.stdout
    assert "15 checks: 11 passed" in done.stdout


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"PULUMI_DEBUG_GRPC": "grpc.json"}, "unset PULUMI_DEBUG_GRPC"),
        ({"PULUMI_OPTION_TRACING": "file:trace"}, "unset PULUMI_OPTION_TRACING"),
        ({"PULUMI_OPTION_OTEL_TRACES": "file://traces"}, "unset PULUMI_OPTION_OTEL_TRACES"),
        ({"PULUMI_OPTION_SHOW_SECRETS": "true"}, "unset PULUMI_OPTION_SHOW_SECRETS"),
        ({"PULUMI_OPTION_VERBOSE": "9"}, "unset PULUMI_OPTION_VERBOSE"),
        ({"PULUMI_OPTION_VERBOSE": "11"}, "unset PULUMI_OPTION_VERBOSE"),
        ({"TF_LOG": "TRACE"}, "unset TF_LOG"),
        ({"TF_LOG_PROVIDER": "TRACE"}, "unset TF_LOG_PROVIDER"),
        ({"SHELLOPTS": "xtrace"}, "env -u SHELLOPTS bash examples/pipeline.sh deploy"),
        ({"PULUMI_STACK": ""}, "STACK=dev examples/pipeline.sh deploy"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "=".join(*value.items()),
)
def test_what_would_tell_secrets_is_refused(stack: Stack, settings: dict[str, str], remedy: str) -> None:
    """Options that reveal secrets are refused before the engine or the server is asked, with the next command."""
    output = pipeline(stack, "deploy", code=2, **settings)
    assert f"\n  {remedy}\n" in output
    assert "Updating" not in output
    assert ask(stack.conninfo, WHAT_IS_THERE) == NOTHING


def test_a_traced_shell_is_refused(stack: Stack) -> None:
    done = run(["bash", "-x", SCRIPT, "deploy"], stack.folder, **stack.settings)
    assert done.returncode == 2
    assert "\n  env -u SHELLOPTS bash examples/pipeline.sh deploy\n" in done.stdout


def test_a_little_verbosity_is_not_refused(stack: Stack) -> None:
    """The CLI logs request bodies from level 9; this test notices a CLI that does so at a lower level."""
    pipeline(stack, "preview", PULUMI_OPTION_VERBOSE="8", PULUMI_OPTION_LOGTOSTDERR="true")


@pytest.mark.parametrize("words", [[], ["destroy"], ["preview", "deploy"]])
def test_usage(stack: Stack, words: list[str]) -> None:
    assert "STACK=dev examples/pipeline.sh preview" in pipeline(stack, *words, code=2)


def test_a_missing_cli_is_told(stack: Stack, tmp_path: Path) -> None:
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("bash", "dirname"):
        (commands / name).symlink_to(shutil.which(name) or "")
    assert "\n  https://www.pulumi.com/docs/install/\n" in pipeline(stack, "deploy", code=2, PATH=str(commands))


def test_missing_packages_are_told(stack: Stack) -> None:
    (stack.folder / ".venv").unlink()
    assert "\n  pulumi install\n" in pipeline(stack, "deploy", code=2)


def test_a_wrong_password_is_told_in_one_line_before_anything_is_changed(stack: Stack) -> None:
    output = pipeline(stack, "deploy", code=3, PGPASSWORD="wr0ng")
    error, remedy = output.splitlines()
    assert error.startswith("error: connection to server at")
    assert "password authentication failed" in error
    assert "PGPASSWORD" in remedy
    assert "wr0ng" not in output


def test_a_failing_update_ends_it(stack: Stack) -> None:
    stack.write("migrations/0002_b.up.sql", "SELECT nope;")
    output = pipeline(stack, "deploy", code=1)
    assert 'column "nope" does not exist' in output
    assert "All 7 answers" not in output


def test_a_failing_check_keeps_its_report(stack: Stack, tmp_path: Path) -> None:
    """A manual change that neither `up` nor the sample repairs fails a check, and the report is kept."""
    pipeline(stack, "deploy")
    ask(stack.conninfo, "GRANT SELECT ON embeddings TO PUBLIC")
    summary = tmp_path / "summary.md"
    output = pipeline(stack, "deploy", code=1, GITHUB_STEP_SUMMARY=str(summary))
    assert "::error title=roles public.embeddings::" in output
    assert failures(stack) == ["roles"]
    assert "### seed verify: failed" in summary.read_text()


def test_no_report_of_an_earlier_run_is_left(stack: Stack) -> None:
    """Reports of an earlier run are removed, so a pipeline cannot publish them as its own."""
    pipeline(stack, "deploy")
    stack.write("reports/other.txt", "kept")
    pipeline(stack, "deploy", code=3, PGPASSWORD="wr0ng")
    assert [path.name for path in (stack.folder / "reports").iterdir()] == ["other.txt"]


def test_a_server_that_logs_statements_is_warned_of(stack: Stack) -> None:
    name = ask(stack.conninfo, "SELECT quote_ident(current_database())")[0][0]
    ask(stack.conninfo, f"ALTER DATABASE {name} SET log_statement = 'ddl'")
    assert "warning: log_statement is ddl" in pipeline(stack, "deploy")


def test_three_roles_over_tls(stack: Stack, names: Names, server: Server, tmp_path: Path) -> None:
    """Each login has its report, and a login whose password was changed by hand ends the run."""
    declare(stack, names)
    with encrypted(server, tmp_path) as tls:
        stack.settings |= {"PGHOST": "localhost", "PGPORT": str(tls.port)}
        stack.settings |= {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(tls.root)}
        assert "30 to create" in pipeline(stack, "preview")
        output = pipeline(stack, "deploy")
        print(output)  # what an operator sees; pytest shows it with -s
        assert output.count("All 7 answers are the article's.") == 1
        assert re.findall(r"(?m)^tls +pass|pass +tls", output) == ["pass  tls"] * 3
        assert output.count("15 checks: 12 passed, 3 not declared") == 3
        assert "30 unchanged" in pipeline(stack, "deploy")
        for report in ("junit", "junit-reader", "junit-writer"):
            assert failures(stack, report) == []
        ask(stack.conninfo, f"ALTER ROLE {quoted(names.reader)} PASSWORD 'another'")
        assert "password authentication failed" in pipeline(stack, "deploy", code=3)


def test_a_role_that_was_there_is_left_out_and_said_so(stack: Stack, names: Names) -> None:
    """An existing role, whose password the stack does not know, is skipped with a message."""
    declare(stack, names)
    ask(stack.conninfo, f"CREATE ROLE {quoted(names.reader)} LOGIN")
    stack.pulumi("config", "rm", "--path", "roles.reader")
    stack.pulumi("config", "set", "--path", "roles.reader.existing", names.reader)
    output = pipeline(stack, "deploy")
    assert f"Not verified as {names.reader}: " in output
    assert output.count("verifying ") == 2
