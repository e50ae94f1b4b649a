"""The ledger that the state is about, on a server that may have changed since."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pulumi
from psycopg.conninfo import conninfo_to_dict

from pgvector_seed.common.errors import RefusedError, UnreachableError
from pgvector_seed.common.remedies import setting_name
from pgvector_seed.migrate.handover import handover_transaction
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.conninfo import as_login
from pgvector_seed.postgres.errors import translated
from pgvector_seed.vectors.extension import find_extension

ANOTHER_DATABASE = (
    "the stack's database was {} and is {} now: another database is another stack. "
    "Run: pulumi stack init NAME, or set the database back"
)
WITHOUT_LEDGER = "the state is about the ledger {}, and this database has none: it is taken for a new one"
TO_HAND_OVER = "the ledger is not the owner's: it was restored, or given away. The next up hands it over"


@contextmanager
def connect_to_read(conninfo: str) -> Iterator[Connection]:
    """As the owner; or, on a server that was replaced and does not have that role, as the login itself."""
    with ExitStack() as opened:
        try:
            connection = opened.enter_context(connect(conninfo))
        except UnreachableError:
            if as_login(conninfo) == conninfo:
                raise
            connection = opened.enter_context(connect(as_login(conninfo)))
        yield connection


def own_ledger(connection: Connection, ledger_id: str) -> Ledger | None:
    """The ledger that the state is about, or None where the database has none.

    Raises RefusedError for another: that is another database.
    """
    with translated("reading the ledger"), handover_transaction(connection):
        ledger = read_ledger(connection)
    if ledger is not None and ledger.id != ledger_id:
        raise RefusedError(
            f"this database has the ledger {ledger.id}, and the state is about {ledger_id}: another database",
            "Look at the connection; if it is meant to be this one, take the old one out of the state: "
            "pulumi state delete 'URN' (pulumi stack --show-urns tells it), and run pulumi up",
        )
    return ledger


def refuse_another(conninfo: str, ledger_id: str) -> None:
    """Raise RefusedError for a database that is another's: a new server has neither a ledger nor pgvector enabled."""
    with connect_to_read(conninfo) as connection, translated("looking whose database it is"):
        if own_ledger(connection, ledger_id) is None and find_extension(connection) is not None:
            raise RefusedError(
                f"this database has pgvector and no ledger, and the state is about {ledger_id}: another database",
                "Look at the connection; if it is the stack's new one, forget the old one, which touches nothing: "
                "pulumi stack rm --force --preserve-config, pulumi stack init NAME, and run pulumi up",
            )


async def ledger_of_state(name: str) -> str | None:
    """The id of the ledger that the stack's state is about, by the name of the migrations' resource, if it has one."""
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    state = await pulumi.runtime.invoke_async("pulumi:pulumi:readStackResourceOutputs", {"stackName": stack})
    ids = [found["outputs"].get("ledger") for urn, found in state["outputs"].items() if urn.endswith(f"::{name}")]
    return ids[0] if ids else None


def is_anothers(connection: Connection, conninfo: str) -> bool:
    """True when the ledger is not the owner's, who may not be there yet."""
    as_owner = conninfo_to_dict(conninfo).get("options")
    if as_owner and connection.info.options != as_owner:
        return True
    with handover_transaction(connection) as parties:
        return parties is not None


def refuse_later_up(ledger: Ledger | None) -> None:
    """Raise RefusedError where the last ``up`` on this database wanted to keep it, and was not this state's."""
    if ledger and ledger.declaration.on_destroy != "revert":
        raise RefusedError(
            f"the last up on this database said {setting_name('onDestroy')} retain, and this stack's state says revert",
            "Another stack has it, or this one with another state. To leave it to that one: pulumi stack rm --force. "
            "To undo the migrations all the same: pulumi refresh, pulumi up, and destroy again.",
        )
