"""Run ``python -m seed`` in a process that is forked with the imports done, in a tenth of the time of a start.

Tests of the start itself, of signals, of a terminal or of Python's own settings start a process of their own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from local.workspace import ROOT
from seed.__main__ import main

COMMANDS = ("index", "load", "migrate", "query", "recall", "sample", "verify")

_forks = get_context("forkserver")
_forks.set_forkserver_preload([__name__, "seed.cli", *(f"seed.{command}.work" for command in COMMANDS)])


def run_seed(
    *words: str, environment: Mapping[str, str], stdin: str = "", merged: bool = False
) -> CompletedProcess[str]:
    """Run a command in an environment of these variables alone. If ``merged``, stdout also has the output to stderr."""
    with TemporaryDirectory() as folder:
        inputs, output, errors = (Path(folder, name) for name in ("in", "out", "err"))
        inputs.write_text(stdin, encoding="utf-8")
        output.touch()
        errors.touch()
        files = (str(inputs), str(output), str(output if merged else errors))
        process = _forks.Process(target=_run, args=(words, dict(environment), files))
        process.start()
        process.join()
        assert process.exitcode is not None
        printed = [file.read_text(encoding="utf-8") for file in (output, errors)]
        return CompletedProcess(["seed", *words], process.exitcode, *printed)


def _run(words: tuple[str, ...], environment: dict[str, str], files: tuple[str, str, str]) -> None:
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(files):
        os.dup2(os.open(file, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_APPEND), number)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, errors="backslashreplace", buffering=1)
    sys.argv = ["seed", *words]
    main()
