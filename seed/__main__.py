"""The entry point of ``python -m seed``, and of ``pgvector-seed`` in an installation."""

from __future__ import annotations

from pgvector_seed.common.console import run


def main() -> None:
    """Run the command line, and exit with its code."""
    run(f"{__package__}.cli")


if __name__ == "__main__":
    main()
