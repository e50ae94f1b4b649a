"""The command line of the migrations: ``python -m migrate``."""

from __future__ import annotations

from postgres.main import run

if __name__ == "__main__":
    run("migrate.cli")
