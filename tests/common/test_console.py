"""The end of a command: its last lines and its exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from local.workspace import ROOT
from pgvector_seed.common.console import run
from pgvector_seed.common.errors import Error, InputError, InterruptError, UnreachableError

FORGED = "0001_a\n::error::forged\x1b[2J"
UNREACHABLE = {"PGHOST": "127.0.0.1", "PGPORT": "1"}
# Commands that print JSON, text, or a report.
COMMANDS = ("migrate status --json", "migrate status", "verify", "verify --format json")


@pytest.mark.parametrize("error", [InterruptError(FORGED), InputError(FORGED)])
def test_names_of_others_forge_no_line_and_move_no_cursor(
    error: Error, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Control characters in an id, which another role may have written, are escaped."""

    @click.command
    def cli() -> None:
        raise error

    monkeypatch.setitem(sys.modules, "forger", SimpleNamespace(cli=cli))
    monkeypatch.setattr(sys, "argv", ["forger"])
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as caught:
        run("forger")
    signal.signal(signal.SIGINT, handler)
    assert caught.value.code == error.exit_code
    messages = capsys.readouterr().err
    assert "\x1b" not in messages
    assert not [line for line in messages.splitlines() if line.startswith("::")]


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", COMMANDS)
def test_a_lost_output_hides_no_error_and_keeps_its_exit_code(words: str, unbuffered: str) -> None:
    """Regression: the error of a full output replaced the error of the command."""
    done = lost("stdout", words, PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == UnreachableError.exit_code, done.stderr
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", COMMANDS)
def test_lost_messages_keep_the_exit_code(words: str) -> None:
    assert lost("stderr", words).returncode == UnreachableError.exit_code


def test_a_lost_result_is_a_failure() -> None:
    done = lost("stdout", "--version")
    assert (done.returncode, done.stderr) == (1, "error: the output: No space left on device\n")


@pytest.mark.parametrize("words", ["--nonsense", "migrate plan --nonsense"])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_lost_usage_keeps_the_exit_code(words: str, stream: str) -> None:
    assert lost(stream, words).returncode == InputError.exit_code


def lost(stream: str, words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m seed`` without a reachable server, with one of its outputs on a full disk."""
    with Path("/dev/full").open("w") as full:
        return subprocess.run(
            [sys.executable, "-m", "seed", *words.split()],
            cwd=ROOT,
            env={**os.environ, **UNREACHABLE, **settings},
            stdout=full if stream == "stdout" else subprocess.PIPE,
            stderr=full if stream == "stderr" else subprocess.PIPE,
            text=True,
            check=False,
        )


@pytest.mark.parametrize("command", ["seed", "seed migrate", "seed migrate plan", "seed verify", "local", "local up"])
def test_help_has_its_short_name_on_every_level(command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command.split(), "-h"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    assert done.stdout.startswith(b"Usage: ")


def test_an_interrupt_in_a_callback_during_an_import_ends_the_command(tmp_path: Path) -> None:
    """Regression: Python drops an exception there, so the command printed a traceback and went on."""
    (tmp_path / "interrupted.py").write_text(
        "import signal, weakref\n"
        "class Lock: pass\n"
        "lock = Lock()\n"
        "callback = weakref.ref(lock, lambda _: signal.raise_signal(signal.SIGINT))\n"
        "del lock\n"
        "def cli(standalone_mode): print('went on')\n"
    )
    code = "from pgvector_seed.common.console import run; run('interrupted')"
    search_path = f"{tmp_path}{os.pathsep}{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": search_path}, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_a_python_without_the_packages_is_told_which_one_has_them(tmp_path: Path) -> None:
    """Regression: `python3 -m seed` outside of the environment ended in a traceback and exit code 1."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = tmp_path / "bare" / "bin" / "python"
    done = subprocess.run([python, "-m", "seed", "verify"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[0] == f"error: {python} lacks the package click"
    assert 'eval "$(make env)"' in done.stderr
