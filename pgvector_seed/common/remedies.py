"""Remedies in the words of a checkout, or of an installation in the user's own Pulumi program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pgvector_seed.common.commands import CHECKOUT, PROGRAM
from pgvector_seed.common.errors import InputError
from pgvector_seed.common.version import VERSION

# True in a checkout, whose program reads the stack's configuration. A user's own program passes arguments instead.
IN_CHECKOUT = PROGRAM == CHECKOUT


def setting(key: str, value: str = "") -> str:
    """Return the command that sets a key of the configuration, or the argument for it in a user's own program."""
    if IN_CHECKOUT:
        secret = "--secret " if key.lower().endswith("password") else ""
        return f"pulumi config set {secret}{key} {value}".strip()
    shown = {"true": "True", "false": "False", "": "..."}.get(value, f'"{value}"')
    return f"VectorDatabaseArgs({setting_name(key)}={shown})"


def settings(*keys: str) -> str:
    """Return the commands that set keys of the configuration, or the arguments for them, with the values left out."""
    if IN_CHECKOUT:
        return "; ".join(map(setting, keys))
    return f"VectorDatabaseArgs({', '.join(f'{setting_name(key)}=...' for key in keys)})"


def setting_name(key: str) -> str:
    """Return a key of the configuration, or the argument's name in a user's own program."""
    if IN_CHECKOUT:
        return key
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)


def wheel_path(version: str = VERSION) -> str:
    """Return a path for the wheel of a version. pip would look for a bare name at the index, which does not have it."""
    return f"DIR/pgvector_seed-{version}-py3-none-any.whl"


def install_extra(extra: str) -> str:
    """Return the command that installs the packages of an extra: "pulumi", "load" or "dask"."""
    requirements = "requirements.txt" if extra == "pulumi" else f"requirements-{extra}.txt"
    source = f"-r {requirements}" if IN_CHECKOUT else f"'{wheel_path()}[{extra}]'"
    return f"python -m pip install {source}"


_PACKAGES = {"load": ("numpy", "pyarrow"), "dask": ("dask", "distributed", "cryptography")}


@contextmanager
def needing_extra(extra: str, what: str) -> Iterator[None]:
    """Raise InputError, with the command that installs the extra, if an import in the block misses a package of it.

    ``extra`` is "load" or "dask"; ``what`` is the subject of the message.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES[extra]:
            raise
        raise InputError(f"{what} needs {error.name}", f"Run: {install_extra(extra)}") from error


def install_package(name: str) -> str:
    """Return the command that installs a package that is in no extra."""
    return f"python -m pip install {name}"


def in_checkout(text: str) -> str:
    """Return a text that names make or docs/, or "" for an installation, which has neither."""
    return text if IN_CHECKOUT else ""


def set_remedy(key: str, value: str) -> str:
    """Return the remedy that sets a key of the configuration, or its argument."""
    return f"{'Run' if IN_CHECKOUT else 'In the program'}: {setting(key, value)}"
