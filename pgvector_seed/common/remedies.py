"""Saying, in remedies, what can be done here: in a checkout, or with an installation in a program of one's own."""

from __future__ import annotations

from pgvector_seed.common.commands import CHECKOUT, PROGRAM
from pgvector_seed.common.version import VERSION

# True for the program of this repository, which reads its settings from the stack's configuration. Of an
# installation, the program is its user's own.
OWN_PROGRAM = PROGRAM == CHECKOUT


def setting(key: str, value: str = "") -> str:
    """Return what gives the configuration's ``key`` a value: the command, or the argument in a user's own program."""
    if OWN_PROGRAM:
        secret = "--secret " if key.lower().endswith("password") else ""
        return f"pulumi config set {secret}{key} {value}".strip()
    shown = {"true": "True", "false": "False", "": "..."}.get(value, f'"{value}"')
    return f"VectorDatabaseArgs({named(key)}={shown})"


def settings(*keys: str) -> str:
    """Return what gives several of the configuration's keys a value, as ``setting`` does."""
    if OWN_PROGRAM:
        return "; ".join(map(setting, keys))
    return f"VectorDatabaseArgs({', '.join(f'{named(key)}=...' for key in keys)})"


def named(key: str) -> str:
    """Return the name of the configuration's ``key``, or of the argument in a user's own program."""
    if OWN_PROGRAM:
        return key
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)


def wheel(version: str = VERSION) -> str:
    """Return the path of the wheel of a version. No index has the package; what one has by its name is a stranger's."""
    return f"DIR/pgvector_seed-{version}-py3-none-any.whl"


def in_checkout(text: str) -> str:
    """Return a text that names make or a page of docs/, or "" in an installation, which has neither."""
    return text if OWN_PROGRAM else ""


def to_set(key: str, value: str) -> str:
    """Return the remedy that ``setting`` is all of."""
    return f"{'Run' if OWN_PROGRAM else 'In the program'}: {setting(key, value)}"
