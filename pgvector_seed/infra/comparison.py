"""Differences between the properties of the last ``up``, which Pulumi's state has, and those of the next one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import RefusedError
from pgvector_seed.common.remedies import IN_CHECKOUT, in_checkout, setting_name
from pgvector_seed.infra.properties import Properties, declaration, irreversible, options
from pgvector_seed.infra.state import ANOTHER_DATABASE
from pgvector_seed.migrate.files import Migration, load
from pgvector_seed.migrate.plan import Plan, plan

_WITHOUT_OWNER = "the tables belong to {}, but the stack has no roles any more. Set them again ({}): {}" + in_checkout(
    '. To keep the data without roles: docs/roles.md, "A stack without roles again"'
)
_AGAIN = in_checkout(
    'with make, first: eval "$(make env)"; for a role that the stack did not create, roles.KIND.existing'
)
_AGAIN_ELSEWHERE = "for a role that the stack did not create, Role(NAME, existing=True)"


def is_applied(olds: Properties, news: Properties) -> bool:
    """Return True if the ledger, as it was last read, has the migrations and belongs to the owner."""
    return olds.get("applied") == news.get("migrations") and not olds.get("handover")


def edited(olds: Properties, news: Properties) -> list[Migration]:
    """Return the migrations whose files differ from those of the last ``up``."""
    changed = {
        id_
        for name in ("migrations", "downs")
        for id_, checksum in news[name].items()
        if olds.get(name, {}).get(id_) != checksum
    }
    return [migration for migration in load(Path(news["directory"])) if migration.id in changed] if changed else []


def planned(olds: Properties, news: Properties) -> Plan:
    """Return the steps from the ledger as it was last read to the files.

    Raises RefusedError as ``plan`` does. If the files are those of the last ``up``, as in a refresh, it returns no
    steps instead.
    """
    ledger = dict(sorted(olds["applied"].items()))
    try:
        without_down = olds["irreversible"] if "irreversible" in olds else irreversible(olds)
        return plan(news["migrations"], ledger, without_down, allow_down=options(news).allow_down)
    except RefusedError as refused:
        if news["migrations"] == olds["migrations"]:
            return Plan()
        remedy = f"{refused.remedy} After a change of the ledger by {PROGRAM} migrate: pulumi refresh"
        raise RefusedError(refused.message, remedy) from refused


def changed_on_destroy(olds: Properties, news: Properties) -> Iterator[str]:
    """Yield a line if the declared ``on_destroy`` changes: a destroy obeys the last ``up``, not the configuration."""
    if _are_known(olds, news):
        before, after = declaration(olds).on_destroy, declaration(news).on_destroy
        if before != after:
            name = setting_name("onDestroy")
            yield f"{name}: {before} becomes {after} with the next up; until then a destroy obeys {before}"


def faults_of_declaration(olds: Properties, news: Properties) -> Iterator[str]:
    """Yield a fault for another database, and for a removal of the roles."""
    if _are_known(olds, news):
        before, after = declaration(olds), declaration(news)
        if before.connection.dbname != after.connection.dbname:
            yield ANOTHER_DATABASE.format(before.connection.dbname, after.connection.dbname)
        if before.roles and not after.roles:
            yield fault_of_removed_roles(before.roles)


def _are_known(olds: Properties, news: Properties) -> bool:
    """Return True if both declarations are known: an Output is not, at preview."""
    return all(isinstance(side.get("declaration"), str) for side in (olds, news))


def fault_of_removed_roles(roles: Mapping[str, str]) -> str:
    """Return the fault of a stack that has lost its ``roles``, by kind, with the commands that set them again."""
    if IN_CHECKOUT:
        again = [f"pulumi config set --path roles.{kind} {shlex.quote(name)}" for kind, name in roles.items()]
        return _WITHOUT_OWNER.format(roles["owner"], _AGAIN, "; ".join(again))
    named = ", ".join(f"{kind}=Role({name!r})" for kind, name in roles.items())
    return _WITHOUT_OWNER.format(roles["owner"], _AGAIN_ELSEWHERE, f"VectorDatabaseArgs(roles=Roles({named}))")
