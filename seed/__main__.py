"""The command line of the seed job: ``python -m seed``."""

from __future__ import annotations

from postgres.main import run

if __name__ == "__main__":
    run("seed.cli")
