"""Running another program in the foreground."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from local.workspace import ROOT
from pgvector_seed.common.console import INTERRUPTED


def run(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run in the project's folder, with the output passed on, and return the exit code.

    An interrupt reaches the program as well, which then ends in its own time: Pulumi finishes the
    resource it is at, and frees its lock.
    """
    process = subprocess.Popen(words, cwd=ROOT, env=environment)
    interrupted = False
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            interrupted = True
        else:
            return INTERRUPTED if interrupted else code
