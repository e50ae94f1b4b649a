"""The ledger of the stack's state, on a server that may have been restored or replaced since."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import psycopg
import pulumi
from psycopg.conninfo import conninfo_to_dict

from pgvector_seed.common.errors import Error, RefusedError, UnreachableError
from pgvector_seed.common.remedies import setting_name
from pgvector_seed.migrate.declaration import Declaration
from pgvector_seed.migrate.expected import MissingTableError
from pgvector_seed.migrate.files import Migration
from pgvector_seed.migrate.handover import handover_transaction
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.read import read_ledger
from pgvector_seed.migrate.runner import ApplyOptions, preview
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.conninfo import as_login
from pgvector_seed.postgres.errors import translated
from pgvector_seed.vectors.extension import find_extension

ANOTHER_DATABASE = (
    "the stack's database was {} and is {} now: another database is another stack. "
    "Run: pulumi stack init NAME, or set the database back"
)
WITHOUT_LEDGER = "the state has the ledger {}, but this database has none, and is taken for a new one"
TO_HAND_OVER = (
    "the ledger does not belong to the owner: it was restored, or handed over. The next up hands it over to the owner"
)


@contextmanager
def connect_to_read(conninfo: str) -> Iterator[Connection]:
    """Connect as the owner. If that fails, as on a new server without this role, connect as the login itself."""
    with ExitStack() as opened:
        try:
            connection = opened.enter_context(connect(conninfo))
        except UnreachableError:
            if as_login(conninfo) == conninfo:
                raise
            connection = opened.enter_context(connect(as_login(conninfo)))
        yield connection


def read_expected_ledger(connection: Connection, ledger_id: str) -> Ledger | None:
    """Return the database's ledger, or None if it has none.

    Raises RefusedError if its id is not ``ledger_id``, that of the state.
    """
    with translated("reading the ledger"), handover_transaction(connection):
        ledger = read_ledger(connection)
    if ledger is not None and ledger.id != ledger_id:
        raise RefusedError(
            f"this database has the ledger {ledger.id}, but the state has {ledger_id}: another database",
            "Check the connection. If it is correct, remove the old ledger from the state: "
            "pulumi state delete --target-dependents 'URN' (pulumi stack --show-urns prints it); then pulumi up",
        )
    return ledger


def refuse_missing_tables_early(conninfo: str, declaration: Declaration, migrations: Sequence[Migration]) -> None:
    """Raise pulumi.RunError for a declared table that neither the database nor a pending migration has.

    Any other error, such as an unreachable server or edited history, is left to the resource that raises it later.
    """
    try:
        with connect_to_read(conninfo) as connection, handover_transaction(connection):
            preview(connection, migrations, declaration, ApplyOptions(allow_down=True))
    except MissingTableError as error:
        raise pulumi.RunError(str(error)) from error
    except (Error, psycopg.Error) as error:
        pulumi.log.debug(f"the declared tables were not compared: {error}")


def refuse_another_ledger(conninfo: str, ledger_id: str) -> None:
    """Raise RefusedError unless the database has this ledger, or is new: without a ledger and pgvector."""
    with connect_to_read(conninfo) as connection, translated("looking for the ledger"):
        if read_expected_ledger(connection, ledger_id) is None and find_extension(connection) is not None:
            raise RefusedError(
                f"this database has pgvector but no ledger, and the state has {ledger_id}: another database",
                "Check the connection. If it is correct, forget the old database, which changes nothing in it: "
                "pulumi stack rm --force --preserve-config; pulumi stack init NAME; pulumi up",
            )


async def ledger_id_in_state(name: str) -> str | None:
    """Return the ledger's id in the stack's state, of the migrations' resource ``name``, or None."""
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    state = await pulumi.runtime.invoke_async("pulumi:pulumi:readStackResourceOutputs", {"stackName": stack})
    ids = [resource["outputs"].get("ledger") for urn, resource in state["outputs"].items() if urn.endswith(f"::{name}")]
    return ids[0] if ids else None


def needs_handover(connection: Connection, conninfo: str) -> bool:
    """Return True if the ledger does not belong to the owner of ``conninfo``, who may not exist yet."""
    as_owner = conninfo_to_dict(conninfo).get("options")
    if as_owner and connection.info.options != as_owner:  # ``connect_to_read`` fell back to the login
        return True
    with handover_transaction(connection) as parties:
        return parties is not None


def refuse_later_up(ledger: Ledger | None) -> None:
    """Raise RefusedError if the ledger does not have ``on_destroy`` "revert", which this state has."""
    if ledger and ledger.declaration.on_destroy != "revert":
        raise RefusedError(
            f"the last up on this database said {setting_name('onDestroy')} retain, and this stack's state says revert",
            "That up was by another stack, or from another state. To keep the data: pulumi stack rm --force. "
            "To undo the migrations: pulumi refresh; pulumi up; pulumi destroy",
        )
