"""Time --help of the commands beside a bare interpreter: ``python -m bench.startup``.

The two run in turn, so that a change of the machine's speed affects both.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15
BARE = [sys.executable, "-c", "pass"]
COMMANDS = ("seed", "seed verify", "seed migrate", "seed migrate apply")


def seconds(command: list[str]) -> float:
    """Return the wall time of one run in seconds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Print the medians in seconds, and the ratio of help to bare interpreter, for each command."""
    for name in COMMANDS:
        rounds = [(seconds([sys.executable, "-m", *name.split(), "--help"]), seconds(BARE)) for _ in range(ROUNDS)]
        ratios = sorted(with_help / bare for with_help, bare in rounds)
        medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
        print(
            f"python -m {name:18} --help  {medians[0]:.3f} s, a bare interpreter {medians[1]:.3f} s, "
            f"ratio {ratios[0]:.1f} to {ratios[-1]:.1f}, median {statistics.median(ratios):.1f} ({ROUNDS} rounds)"
        )


if __name__ == "__main__":
    main()
