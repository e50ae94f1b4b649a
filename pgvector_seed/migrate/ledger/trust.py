"""Trust in the ledger: refuse one that would run another role's code with the privileges of this login.

A role that may only create schemas could plant a ledger with triggers, downs and expression indexes of its own.
Membership in its owner proves nothing, since any role can grant it to this login. So the owner must be, by name, this
login, the role that it was told to take on, the database's owner or a superuser. The facts come from the system
catalog, in the snapshot in which the ledger is then read.
"""

from __future__ import annotations

import shlex
from importlib.resources import files

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.declaration import NOTHING_DECLARED
from pgvector_seed.migrate.ledger.facts import LedgerFacts
from pgvector_seed.migrate.ledger.model import Ledger, Writers
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.conninfo import escaped_role


class UntrustedLedgerError(RefusedError):
    """The ledger's owner is not this login, its role, a superuser or the owner of the database."""


def find_writers(connection: Connection) -> Writers:
    """Return the roles other than the owner that may write to the ledger. Call it under ``catalog_snapshot``."""
    rows = connection.execute(files(__package__).joinpath("writers.sql").read_bytes()).fetchall()
    return Writers(
        granted=tuple(name for name, granted, *_ in rows if granted),
        of_all_data=tuple(name for name, _, _, member, _ in rows if member),
        triggers=tuple(name for name, _, trigger, *_ in rows if trigger),
        grantors=tuple(grantor for *_, grantors in rows for grantor in grantors),
    )


def refuse_to_write(facts: LedgerFacts, writers: Writers) -> None:
    """Raise RefusedError if the ledger has an untrusted owner, a trigger, or a role that may add one meanwhile."""
    if facts.untrusted_owner is not None:
        raise _refused(facts.untrusted_owner, can_log_in=facts.untrusted_owner_can_log_in)
    if facts.runs_when_written:
        raise RefusedError(
            "the ledger in the schema pgvector_seed has a trigger, or a foreign key refers to it: another role's code "
            "would run with the privileges of this login",
            "In psql: \\d pgvector_seed.* shows it; drop it.",
        )
    if writers.triggers:
        raise RefusedError(
            f"{', '.join(writers.triggers)} may put a trigger on the ledger in the schema pgvector_seed, or a foreign "
            "key that refers to it, which would run with the privileges of this login",
            f"In psql: {writers.revoke};",
        )


def refuse_to_read(facts: LedgerFacts) -> None:
    """Raise RefusedError if the ledger has an untrusted owner, and this is a superuser or reading it would run code.

    A superuser is refused in any case: the owner could still add an expression index before the ledger is read.
    """
    if facts.untrusted_owner is not None and (facts.login_is_superuser or facts.runs_when_read):
        raise _refused(facts.untrusted_owner, can_log_in=facts.untrusted_owner_can_log_in)


def deployment_schema(ledger: Ledger | None, named: str | None, *, to_undo: bool = False) -> str:
    """Return the schema of the deployment: ``named``, else the one that the ledger records, else the default.

    Raises RefusedError if only the ledger names the schema, and another role may write to the ledger: that role could
    name a schema with functions and operators of its own, which migrations would run. The default schema is refused
    only ``to_undo``, which drops objects in it.
    """
    recorded = ledger.declaration.schema if ledger else NOTHING_DECLARED.schema
    if ledger and named is None and (to_undo or recorded != NOTHING_DECLARED.schema):
        remedy = f"Name it, if it is correct: --schema {shlex.quote(recorded)}"
        refuse_if_others_write(ledger, "the name of the schema", remedy)
    return named or recorded


def refuse_if_others_write(ledger: Ledger, subject: str, remedy: str) -> None:
    """Raise RefusedError if a role other than the owner may write to the ledger, the only place of ``subject``."""
    if ledger.writers.names:
        names = ", ".join(ledger.writers.names)
        raise RefusedError(f"{subject} is only in the ledger, to which {names} may write", remedy)


def _refused(owner: str, *, can_log_in: bool) -> UntrustedLedgerError:
    remedy = f"If {owner} deploys here, connect as {owner}. Or become the owner of the schema and its tables."
    if not can_log_in:
        options = shlex.quote(f"-c role={escaped_role(owner)}")
        remedy = (
            f"If this deployment declares {owner} as the owner, put PGOPTIONS={options} before the same command. To "
            "give everything it owns here to another role, in psql: REASSIGN OWNED BY ... TO ..."
        )
    return UntrustedLedgerError(f"the ledger in the schema pgvector_seed belongs to {owner}, not to this login", remedy)
