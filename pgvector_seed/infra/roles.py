"""The key ``roles`` of the stack's configuration: who owns the tables, who writes and who reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any

import pulumi

from pgvector_seed.common.text import did_you_mean, fault_of_text
from pgvector_seed.infra.validation import shown, with_command
from pgvector_seed.postgres.catalog import fault_of_identifier

KINDS = ("owner", "writer", "reader")


@dataclass(frozen=True)
class Role:
    """A role that the stack creates, or an ``existing`` one, which only gets its rights.

    Without a ``password``, one is generated for a created writer or reader.
    """

    name: str
    _: KW_ONLY  # a password by position would land in ``existing``, whose value is shown
    existing: bool = False
    password: pulumi.Input[str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Roles:
    """The owner of the tables, which cannot log in, and the writer and the reader of their rows.

    A new ``password_version`` generates new passwords. ``import_existing`` imports existing roles into a state that
    has lost them.
    """

    owner: Role
    writer: Role
    reader: Role
    password_version: str = ""
    import_existing: bool = False

    def by_kind(self) -> dict[str, Role]:
        """Return the roles by "owner", "writer" and "reader"."""
        return {"owner": self.owner, "writer": self.writer, "reader": self.reader}

    def logins(self) -> dict[str, Role]:
        """Return the writer and the reader, which log in, by kind."""
        return {"writer": self.writer, "reader": self.reader}


def read_roles(raw: Mapping[str, str]) -> tuple[Roles | None, list[str]]:
    """Return the roles of the configuration, or None, and the faults, each with the command that fixes it."""
    by_kind, faults = _read(raw["roles"]) if "roles" in raw else ({}, [])
    for kind in KINDS:
        key, role = f"{kind}Password", by_kind.get(kind)
        if not faults and key in raw and (role is None or role.existing):
            fault = f"{key}: the stack creates no {kind} that could have this password"
            faults.append(with_command(fault, f"pulumi config rm {key}"))
    if faults or not by_kind:
        return None, faults
    with_passwords = {kind: replace(role, password=raw.get(f"{kind}Password")) for kind, role in by_kind.items()}
    version, import_existing = raw.get("passwordVersion", ""), raw.get("importRoles") == "true"
    return Roles(**with_passwords, password_version=version, import_existing=import_existing), []


def _read(raw: str) -> tuple[dict[str, Role], list[str]]:
    try:
        roles = json.loads(raw)
    except ValueError:
        roles = None
    if not isinstance(roles, dict):
        fault = f"roles: must map owner, writer and reader to names; got {shown(raw)}"
        return {}, [with_command(fault, "pulumi config rm roles")]
    faults = list(_faults(roles))
    return {} if faults else {kind: _role(roles[kind]) for kind in KINDS}, faults


def _role(value: str | dict[str, str]) -> Role:
    return Role(value) if isinstance(value, str) else Role(value["existing"], existing=True)


def _faults(roles: dict[str, Any]) -> Iterator[str]:
    for kind in sorted(roles.keys() - set(KINDS)):
        fault = f"roles: no such key: {kind}{did_you_mean(kind, KINDS)}"
        yield with_command(fault, f"pulumi config rm --path 'roles.{kind}'")
    for fault, kind in faults_of_names({kind: _name(roles.get(kind)) for kind in KINDS}):
        yield with_command(fault, f"pulumi config set --path 'roles.{kind}' app_{kind}")


def _name(role: Any) -> Any:
    return role["existing"] if isinstance(role, dict) and role.keys() == {"existing"} else role


def faults_of_names(names: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each fault of ``names``, which maps kinds to the names of roles, with the kind to set."""
    faults = {kind: fault_of_name(name) for kind, name in names.items()}
    for kind, fault in faults.items():
        if fault:
            yield f"roles.{kind}: {fault}", kind
    if not any(faults.values()) and len(set(names.values())) < len(names):
        yield "roles: owner, writer and reader must be three different roles", "reader"


def fault_of_name(name: Any) -> str | None:
    """Return the fault of a role's name, or None."""
    if fault_of_text(name):
        near = did_you_mean(next(iter(name)), ["existing"]) if isinstance(name, dict) and len(name) == 1 else ""
        return f"must be a role's name, or {{existing: NAME}} for a role that exists; got {shown(name)}{near}"
    if fault := fault_of_identifier(name):
        return f"{fault}; got {shown(name)}"
    return f"{name!r} is reserved" if name.startswith("pg_") or name in ("public", "none") else None
