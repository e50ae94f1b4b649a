"""The command line of the seed job: ``python -m seed``; of an installation, ``pgvector-seed``."""

from __future__ import annotations

from pgvector_seed.common.console import run


def main() -> None:
    """Run the command line, and leave with its exit code."""
    run(f"{__package__}.cli")


if __name__ == "__main__":
    main()
