"""Saying, in remedies, how the Pulumi program gets another setting."""

from __future__ import annotations

from pgvector_seed.common.commands import CHECKOUT, PROGRAM

# True for the program of this repository, which reads its settings from the stack's configuration. Of an
# installation, the program is its user's own.
OWN_PROGRAM = PROGRAM == CHECKOUT


def setting(key: str, value: str = "") -> str:
    """Return what gives the configuration's ``key`` a value: the command, or the argument in a user's own program."""
    if OWN_PROGRAM:
        secret = "--secret " if key.lower().endswith("password") else ""
        return f"pulumi config set {secret}{key} {value}".strip()
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
    shown = {"true": "True", "false": "False", "": "..."}.get(value, f'"{value}"')
    return f"VectorDatabaseArgs({name}={shown})"


def to_set(key: str, value: str) -> str:
    """Return the remedy that ``setting`` is all of."""
    return f"{'Run' if OWN_PROGRAM else 'In the program'}: {setting(key, value)}"
