"""Whether and how TLS is used, by libpq's rules, held against what the PostgreSQL provider does with them.

Both look for root.crt, postgresql.crt and postgresql.key in ~/.postgresql by themselves, so only files that
were named are passed on: the state of a stack must not lead to one person's home.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import pulumi

from pgvector_seed.common.remedies import set_remedy
from pgvector_seed.postgres.conninfo import SSL_MODES, SslMode, is_loopback

SSLMODES = tuple(mode for mode in SSL_MODES if mode not in ("allow", "prefer"))  # the provider knows no others
DEFAULTS = {"sslrootcert": "root.crt", "sslcert": "postgresql.crt", "sslkey": "postgresql.key"}
SYSTEM = "system"  # the authorities that the system trusts, and no file


def find_sslmode(found: Mapping[str, str], hosts: str) -> SslMode:
    """``prefer``, which libpq does by default, accepts a plain connection in silence: only loopback may.

    Who names an authority or a certificate wants TLS there as well.
    """
    said = found["sslmode"]
    if said == "prefer":
        named = {"sslrootcert", "sslcert"} & found.keys()
        return "require" if named or not all(map(is_loopback, hosts.split(","))) else "disable"
    sslmode = next((mode for mode in SSLMODES if mode == said), None)
    if sslmode is None:
        raise pulumi.RunError(
            f"sslmode must be one of {', '.join(SSLMODES)}; got {said!r}. {set_remedy('sslmode', 'verify-full')}"
        )
    return sslmode


def find_files(found: Mapping[str, str], sslmode: str) -> dict[str, str]:
    """Those of libpq's parameters ``found`` that name a file, when TLS is used at all.

    Raises pulumi.RunError for a file that one of the two sides could not use, or would pass over in silence.
    """
    if sslmode == "disable":
        return {}
    home = Path.home() / ".postgresql"
    default = {name: str(home / file) for name, file in DEFAULTS.items()}
    named = {name: found[name] for name in DEFAULTS if name in found}
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
    """Without a root certificate libpq verifies nothing under ``require``, and the provider trusts the system's."""
    if not Path(path).is_file() and (name, path) != ("sslrootcert", SYSTEM):
        raise pulumi.RunError(f"{name}: there is no file {path}. {set_remedy(name, 'FILE')}")


def _refuse_open(key: str) -> None:
    """What both sides refuse (libpq: fe-secure-openssl.c; lib/pq: CheckPermissions), told before they connect."""
    status = Path(key).stat()
    allowed = 0o640 if status.st_uid == 0 else 0o600
    if status.st_mode & 0o777 & ~allowed:
        raise pulumi.RunError(f"sslkey: others may read {key}, so it is refused. Run: chmod 600 {shlex.quote(key)}")
