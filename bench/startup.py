"""Time --help of the commands beside a bare interpreter: ``python -m bench.startup``.

The two run in turn, so that a change of the machine's speed affects both.
"""

from __future__ import annotations

import subprocess
import sys

from bench.measure import compare, seconds

ROUNDS = 15
BARE = [sys.executable, "-c", "pass"]
COMMANDS = ("seed", "seed verify", "seed migrate", "seed migrate apply")


def run(command: list[str]) -> float:
    """Return the wall time of a command in seconds."""
    return seconds(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def main() -> None:
    """Print a comparison for each command."""
    for name in COMMANDS:
        words = [sys.executable, "-m", *name.split(), "--help"]
        compare(f"{name} --help", [(run(words), run(BARE)) for _ in range(ROUNDS)], "a bare interpreter ")


if __name__ == "__main__":
    main()
