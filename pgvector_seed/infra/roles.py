"""The key ``roles`` of the stack's configuration: who owns the tables, who writes and who reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import pulumi

from pgvector_seed.postgres.catalog import LONGEST_NAME

KINDS = ("owner", "writer", "reader")


@dataclass(frozen=True)
class Role:
    """A role that the stack makes, or one that is there and is only given rights (``existing``).

    A ``password`` that is None is generated, for one that is made and logs in.
    """

    name: str
    _: KW_ONLY  # by position, a password could land where it is shown
    existing: bool = False
    password: pulumi.Input[str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Roles:
    """The owner cannot log in and has all that the migrations make; the writer and the reader use it.

    Another ``password_version`` generates other passwords. ``import_existing`` takes roles that are there into a
    state that has lost them.
    """

    owner: Role
    writer: Role
    reader: Role
    password_version: str = ""
    import_existing: bool = False

    def by_kind(self) -> dict[str, Role]:
        """The three, by what they are for."""
        return {"owner": self.owner, "writer": self.writer, "reader": self.reader}

    def logins(self) -> dict[str, Role]:
        """Those that log in."""
        return {"writer": self.writer, "reader": self.reader}


def read_roles(raw: Mapping[str, str]) -> tuple[Roles | None, list[str]]:
    """What the keys about roles say, and what is wrong with them, each fault with the command that mends it."""
    found, faults = _read(raw["roles"]) if "roles" in raw else ({}, [])
    for kind in KINDS:
        key, role = f"{kind}Password", found.get(kind)
        if not faults and key in raw and (role is None or role.existing):
            faults.append(f"{key}: this stack makes no {kind} whose password it could set. Run: pulumi config rm {key}")
    if faults or not found:
        return None, faults
    with_passwords = {kind: replace(role, password=raw.get(f"{kind}Password")) for kind, role in found.items()}
    version, import_existing = raw.get("passwordVersion", ""), raw.get("importRoles") == "true"
    return Roles(**with_passwords, password_version=version, import_existing=import_existing), []


def _read(raw: str) -> tuple[dict[str, Role], list[str]]:
    try:
        roles = json.loads(raw)
    except ValueError:
        roles = None
    if not isinstance(roles, dict):
        return {}, [f"roles: must map owner, writer and reader to names; got {raw!r}. Run: pulumi config rm roles"]
    faults = list(_faults(roles))
    return {} if faults else {kind: _role(roles[kind]) for kind in KINDS}, faults


def _role(found: str | dict[str, str]) -> Role:
    return Role(found) if isinstance(found, str) else Role(found["existing"], existing=True)


def _faults(roles: dict[str, Any]) -> Iterator[str]:
    for kind in roles.keys() - set(KINDS):
        yield f"roles: no such key: {kind}. Run: pulumi config rm --path 'roles.{kind}'"
    for fault, kind in faults_of_names({kind: _name(roles.get(kind)) for kind in KINDS}):
        yield f"{fault}. Run: pulumi config set --path 'roles.{kind}' app_{kind}"


def _name(role: Any) -> Any:
    return role["existing"] if isinstance(role, dict) and role.keys() == {"existing"} else role


def faults_of_names(names: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the names of the roles by their kind, each with the kind that mends it."""
    faults = {kind: fault_of_name(name) for kind, name in names.items()}
    for kind, fault in faults.items():
        if fault:
            yield f"roles.{kind}: {fault}", kind
    if not any(faults.values()) and len(set(names.values())) < len(names):
        yield "roles: owner, writer and reader must be three roles, or one could do what only another should", "reader"


def fault_of_name(name: Any) -> str | None:
    """Return what is wrong with the name of a role, or None."""
    if not isinstance(name, str) or not name or "\0" in name:
        return f"must be a role's name, or {{existing: NAME}} for one that is there; got {name!r}"
    if len(name.encode()) > LONGEST_NAME:
        return f"must have {LONGEST_NAME} bytes at most, PostgreSQL's limit for a name; got {name!r}"
    return f"{name!r} is reserved" if name.startswith("pg_") or name in ("public", "none") else None
