"""The rights that a role has beyond the allowed ones: by grant, ownership, membership, attribute or setting."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from psycopg import sql

from ..model import Fault
from .belongings import Belongings, Granted, Identity, Membership, Owned

PUBLIC = "PUBLIC"
# These only monitor, or reserve a connection.
_HARMLESS = {"pg_monitor", "pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables"}
_HARMLESS |= {"pg_use_reserved_connections"}
_ALLOWED_TO_ALL = {
    "SCHEMA": {"USAGE"},
    "DATABASE": {"CONNECT", "TEMPORARY"},
    "SEQUENCE": {"SELECT"},
    "FUNCTION": {"EXECUTE"},
    "TYPE": {"USAGE"},
    "PARAMETER": {"SET"},
}
# With these a session skips triggers and foreign keys, loads a library, or passes over damage.
_PARAMETERS = {"session_replication_role", "session_preload_libraries", "dynamic_library_path"}
_PARAMETERS |= {"zero_damaged_pages", "ignore_checksum_failure"}
# Statements that take an object from its owner, if it should not be given to the owner of the table.
_AS_SUPERUSER = "ALTER {kind} {name} OWNER TO CURRENT_USER; -- as a superuser"
_TAKEN = {
    "FUNCTION": _AS_SUPERUSER,
    "TYPE": _AS_SUPERUSER,
    "COLLATION": _AS_SUPERUSER,
    "OPERATOR": _AS_SUPERUSER,
    "OPERATOR CLASS": _AS_SUPERUSER,
    "EXTENSION": "REASSIGN OWNED BY {role} TO CURRENT_USER; -- as a superuser",
    "INDEX": "DROP INDEX {name}; -- then create it again as the owner of the table",
}


def role_excess(
    belongings: Belongings, role: str, owner: str | None, database: str, allowed: Mapping[str, set[str]]
) -> Iterator[Fault]:
    """Yield a fault for each right of the role beyond ``allowed``, which maps kinds of objects to privileges.

    ``owner`` is the declared owner of the table, if any. The role PUBLIC may have only what is allowed to all.
    """
    memberships = [membership for membership in belongings.memberships if membership.role == role]
    revoke = {entry.name: f"REVOKE {_quoted(entry.by or entry.name)} FROM {_quoted(role)};" for entry in memberships}
    for membership in memberships:
        yield from _attributes(membership, revoke)
    yield from (_owned(owned, owner, revoke) for owned in belongings.owned if owned.role == role)
    yield from _granted(belongings, role, {**_ALLOWED_TO_ALL, **allowed}, revoke)
    yield from (_identity(identity, database) for identity in belongings.identities if identity.role == role)


def _attributes(membership: Membership, revoke: Mapping[str, str]) -> Iterator[Fault]:
    role, name = membership.role, membership.name
    attributes = " and ".join(membership.attributes)
    if name == role:
        if attributes:
            without = " ".join(f"NO{attribute}" for attribute in membership.attributes)
            yield Fault(f"{role} has {attributes}", f"ALTER ROLE {_quoted(role)} {without};")
    elif attributes or (name.startswith("pg_") and name not in _HARMLESS):
        yield Fault(f"{role} has {attributes or 'its rights'} as a member of {name}", revoke[name])


def _owned(owned: Owned, owner: str | None, revoke: Mapping[str, str]) -> Fault:
    kind, name, role = owned.kind, owned.name, owned.role
    message = f"{role} owns the {kind.lower()} {name}"
    if owned.member != role:
        return Fault(f"{message} as a member of {owned.member}", revoke[owned.member])
    if kind in _TAKEN:
        return Fault(message, _TAKEN[kind].format(role=_quoted(role), kind=kind, name=name))
    return Fault(message, f"ALTER {kind} {name} OWNER TO {_quoted(owner) if owner else '...'};")


def _granted(
    belongings: Belongings, role: str, allowed: Mapping[str, set[str]], revoke: Mapping[str, str]
) -> Iterator[Fault]:
    """Yield a fault for each privilege that is not allowed, or grantable."""
    excess: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for granted in belongings.granted:
        column = f" ({_quoted(granted.attribute)})" if granted.attribute else ""
        option = "GRANT OPTION FOR " if _is_allowed(granted, allowed) else ""
        if granted.role == role and (granted.grantable or not option):
            excess[option, granted.kind, granted.name, granted.member].append(granted.privilege + column)
    for (option, kind, name, member), privileges in excess.items():
        rights, on_object = ", ".join(privileges), f"ON {'TABLE' if kind == 'WAY' else kind} {name}"
        message = f"{role} may {'grant others ' if option else ''}{rights} {on_object}"
        message += ", which writes to the table" if kind == "WAY" else ""
        if member == role:
            grantee = role if role == PUBLIC else _quoted(role)
            yield Fault(message, f"REVOKE {option}{rights} {on_object} FROM {grantee};")
        else:
            yield Fault(f"{message} as a member of {member}", revoke[member])


def _is_allowed(granted: Granted, allowed: Mapping[str, set[str]]) -> bool:
    is_dangerous = granted.kind == "PARAMETER" and granted.name in _PARAMETERS
    return granted.privilege in allowed.get(granted.kind, set()) and not is_dangerous


def _identity(identity: Identity, database: str) -> Fault:
    role, in_database = _quoted(identity.role), f" IN DATABASE {_quoted(database)}" if identity.of_database else ""
    sessions = f"ROLE {role}{in_database}" if identity.of_role else f"ROLE ALL{in_database}"
    message = f"the sessions of {identity.role} start as {identity.value}, by the setting {identity.setting}"
    if identity.setting == "session_replication_role":
        message = f"the sessions of {identity.role} start without triggers and foreign keys, by {identity.setting}"
    return Fault(message, f"ALTER {sessions} RESET {identity.setting};")


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()
