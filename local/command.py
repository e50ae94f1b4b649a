"""Other programs, run in the foreground."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.workspace import ROOT
from pgvector_seed.common.console import INTERRUPTED


def run(words: Sequence[str], environment: Mapping[str, str], folder: Path = ROOT) -> int:
    """Run a program in a folder, and return its exit code, or INTERRUPTED after an interrupt.

    The terminal sends an interrupt to the program, too, which is waited for: Pulumi finishes the current resource and
    frees its lock.
    """
    process = subprocess.Popen(words, cwd=folder, env=environment)
    interrupted = False
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            interrupted = True
        else:
            return INTERRUPTED if interrupted else code
