"""The sslmode and the TLS files, by libpq's rules as far as the PostgreSQL provider follows them.

Both libpq and the provider look for root.crt, postgresql.crt and postgresql.key in ~/.postgresql. Only files that the
configuration or the environment names are passed on: a stack's state must not hold the path of a user's home.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import pulumi

from pgvector_seed.common.remedies import set_remedy
from pgvector_seed.postgres.conninfo import SSL_MODES, SslMode, is_loopback

SSLMODES = tuple(mode for mode in SSL_MODES if mode not in ("allow", "prefer"))  # those of the provider
DEFAULTS = {"sslrootcert": "root.crt", "sslcert": "postgresql.crt", "sslkey": "postgresql.key"}
SYSTEM = "system"  # the authorities that the operating system trusts; not a file


def resolve_sslmode(parameters: Mapping[str, str], hosts: str) -> SslMode:
    """Return the sslmode of libpq's ``parameters``, with libpq's default ``prefer`` replaced.

    ``prefer`` accepts an unencrypted connection without notice, so it becomes ``require``; on loopback ``disable``,
    unless a root or client certificate is named. Raises pulumi.RunError for a mode that the provider does not know.
    """
    requested = parameters["sslmode"]
    if requested == "prefer":
        has_files = {"sslrootcert", "sslcert"} & parameters.keys()
        return "require" if has_files or not all(map(is_loopback, hosts.split(","))) else "disable"
    sslmode = next((mode for mode in SSLMODES if mode == requested), None)
    if sslmode is None:
        raise pulumi.RunError(
            f"sslmode must be one of {', '.join(SSLMODES)}; got {requested!r}. {set_remedy('sslmode', 'verify-full')}"
        )
    return sslmode


def tls_files(parameters: Mapping[str, str], sslmode: str) -> dict[str, str]:
    """Return the TLS files that libpq's ``parameters`` name, by parameter; none if TLS is disabled.

    Raises pulumi.RunError for a file that libpq or the provider could not use, or would silently ignore.
    """
    if sslmode == "disable":
        return {}
    home = Path.home() / ".postgresql"
    default = {name: str(home / file) for name, file in DEFAULTS.items()}
    named = {name: parameters[name] for name in DEFAULTS if name in parameters}
    if {"sslcert", "sslkey"} & named.keys():  # the provider takes both or none
        named = {"sslcert": default["sslcert"], "sslkey": default["sslkey"], **named}
    used = {**default, **named}
    needed = {*named, "sslrootcert"} if sslmode.startswith("verify") else named.keys()
    for name in sorted(needed):
        _refuse_missing(name, used[name])
    if Path(used["sslcert"]).is_file():
        _refuse_missing("sslkey", used["sslkey"])
        _refuse_open(used["sslkey"])
    return named


def _refuse_missing(name: str, path: str) -> None:
    """Raise pulumi.RunError if the file does not exist.

    Without a root certificate, libpq with ``require`` verifies nothing, and the provider trusts the system's.
    """
    if not Path(path).is_file() and (name, path) != ("sslrootcert", SYSTEM):
        raise pulumi.RunError(f"{name}: the file {path} does not exist. {set_remedy(name, 'FILE')}")


def _refuse_open(key: str) -> None:
    """Raise pulumi.RunError for a key that libpq (fe-secure-openssl.c) and lib/pq (CheckPermissions) would refuse."""
    status = Path(key).stat()
    allowed = 0o640 if status.st_uid == 0 else 0o600
    if status.st_mode & 0o777 & ~allowed:
        raise pulumi.RunError(f"sslkey: others may read {key}, so it is refused. Run: chmod 600 {shlex.quote(key)}")
