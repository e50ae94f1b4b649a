"""The command line of the make targets: ``python -m local``."""

from __future__ import annotations

from pgvector_seed.common.console import run

if __name__ == "__main__":
    run("local.cli")
