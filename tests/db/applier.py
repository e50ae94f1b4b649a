"""A program that applies a folder of migrations: what the tests kill and run side by side.

The connection is in the PG* variables: a password in the arguments is there for all to see.
"""

from __future__ import annotations

import sys
from pathlib import Path

from migrate import apply, load
from postgres.connection import connect
from postgres.contract import Declaration

if __name__ == "__main__":
    with connect() as connection:
        apply(
            connection,
            load(Path(sys.argv[1])),
            Declaration("public", "retain", "0.8.4"),
            lambda line: print(line, flush=True),
        )
