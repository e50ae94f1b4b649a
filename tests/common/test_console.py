"""The end of a command: what is printed, and the exit code."""

from __future__ import annotations

import signal
import sys
from types import SimpleNamespace

import click
import pytest

from pgvector_seed.common.console import run
from pgvector_seed.common.errors import Error, InputError, InterruptError

FORGED = "0001_a\n::error::forged\x1b[2J"


@pytest.mark.parametrize("error", [InterruptError(FORGED), InputError(FORGED)])
def test_names_of_others_forge_no_line_and_move_no_cursor(
    error: Error, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id in the ledger may be another role's text."""

    @click.command
    def cli() -> None:
        raise error

    monkeypatch.setitem(sys.modules, "forger", SimpleNamespace(cli=cli))
    monkeypatch.setattr(sys, "argv", ["forger"])
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as left:
        run("forger")
    signal.signal(signal.SIGINT, handler)
    assert left.value.code == error.exit_code
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert not [line for line in told.splitlines() if line.startswith("::")]
