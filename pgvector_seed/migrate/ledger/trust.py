"""Trust in the ledger. What a stranger put into it, or upon it, would run with the rights of its user.

A login that may only create schemas could plant a ledger, with triggers, downs and indexes on expressions of its
own. That we may act as its owner says nothing, nor does who else may: anybody can grant us that, and leave a role
behind that nobody can become any more. So only names count: this login's, the role's that it was told to take on,
the database owner's. The catalog is asked, never the ledger, and in the snapshot in which the ledger is then read.
"""

from __future__ import annotations

import shlex
from importlib.resources import files

from pgvector_seed.common.errors import RefusedError
from pgvector_seed.migrate.declaration import NOTHING_DECLARED
from pgvector_seed.migrate.ledger.facts import Facts
from pgvector_seed.migrate.ledger.model import Ledger, Writers
from pgvector_seed.postgres.connection import Connection
from pgvector_seed.postgres.conninfo import escaped_role


class StrangersLedgerError(RefusedError):
    """The ledger belongs to another than this login, its role, a superuser or the owner of the database."""


def find_writers(connection: Connection) -> Writers:
    """Return the roles that may write to the ledger beside its owner. Call it under ``catalog_snapshot``."""
    rows = connection.execute(files(__package__).joinpath("writers.sql").read_bytes()).fetchall()
    return Writers(
        granted=tuple(name for name, granted, *_ in rows if granted),
        of_all_data=tuple(name for name, _, _, member, _ in rows if member),
        triggers=tuple(name for name, _, trigger, *_ in rows if trigger),
        givers=tuple(giver for *_, givers in rows for giver in givers),
    )


def refuse_to_write(facts: Facts, writers: Writers) -> None:
    """Raise RefusedError if the ledger is a stranger's, or has a trigger of anybody's, or may get one meanwhile."""
    if facts.stranger is not None:
        raise _refused(facts.stranger, can_log_in=facts.stranger_can_log_in)
    if facts.runs_when_written:
        raise RefusedError(
            "the ledger in the schema pgvector_seed has a trigger, or a foreign key refers to it: another role's code "
            "would run with the rights of this login",
            "See who made it, in psql: \\d pgvector_seed.*; then drop it.",
        )
    if writers.triggers:
        raise RefusedError(
            f"{', '.join(writers.triggers)} may put a trigger on the ledger in the schema pgvector_seed, or a foreign "
            "key that refers to it, which would run with the rights of this login",
            f"In psql: {writers.revoke};",
        )


def refuse_to_read(facts: Facts) -> None:
    """Raise RefusedError if the ledger is a stranger's, and this is a superuser or something on it would run.

    The stranger may still add an index meanwhile, and be faster: that is why a superuser, who has everything to
    lose, is refused in any case.
    """
    if facts.stranger is not None and (facts.login_is_superuser or facts.runs_when_read):
        raise _refused(facts.stranger, can_log_in=facts.stranger_can_log_in)


def deployment_schema(ledger: Ledger | None, named: str | None, *, to_undo: bool = False) -> str:
    """Return the deployment's schema: the one that was named, or else the ledger's; without a ledger, the default.

    Raises RefusedError if the ledger alone names it and another role could have written that: what then runs would
    find the functions and operators of that schema first. The default one is used without a ledger, too, and only
    ``to_undo`` must it be named: what is dropped there could be another's.
    """
    recorded = ledger.declaration.schema if ledger else NOTHING_DECLARED.schema
    if ledger and named is None and (to_undo or recorded != NOTHING_DECLARED.schema):
        remedy = f"Name it: --schema {shlex.quote(recorded)}, if it is that."
        refuse_if_others_write(ledger, "the name of the schema", remedy)
    return named or recorded


def refuse_if_others_write(ledger: Ledger, what: str, remedy: str) -> None:
    """Raise RefusedError if a role other than the owner may write to the ledger, which alone has ``what``."""
    if ledger.writers.names:
        names = ", ".join(ledger.writers.names)
        raise RefusedError(f"{what} is only in the ledger, to which {names} may write", remedy)


def _refused(owner: str, *, can_log_in: bool) -> StrangersLedgerError:
    remedy = f"If {owner} is who deploys here, connect as {owner}; or have the schema and its tables given to you."
    if not can_log_in:
        options = shlex.quote(f"-c role={escaped_role(owner)}")
        remedy = (
            f"If {owner} is the owner that this deployment declares, act as it: PGOPTIONS={options} before the same "
            "command. To give all that it has here to another role, in psql: REASSIGN OWNED BY ... TO ..."
        )
    return StrangersLedgerError(
        f"the ledger in the schema pgvector_seed belongs to {owner}, and this login is another", remedy
    )
