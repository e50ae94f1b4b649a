"""The source of the SQL that is about to run: a file, or the ledger alone while no other role may write to it.

A role that may write data could otherwise change a stored down, and have it run by the next superuser.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pgvector_seed.common.commands import PROGRAM
from pgvector_seed.common.errors import RefusedError
from pgvector_seed.common.remedies import setting
from pgvector_seed.migrate.files import Migration, down_file, up_file
from pgvector_seed.migrate.ledger.model import Ledger
from pgvector_seed.migrate.ledger.trust import refuse_if_others_write
from pgvector_seed.migrate.script import texts

_CHANGED = (
    "Put the file back as it was applied. Or have the ledger record the file as it is now, with whatever else is "
    f"pending, and then undo again: {PROGRAM} migrate apply (Pulumi: pulumi up --refresh)"
)
_MISSING = "Put the file back: the ledger has a down, and its up is still a file."
_ALONE = (
    "Put the file back, and nothing is run from the ledger. Or read what the ledger has, in psql: SELECT id, down FROM "
    "pgvector_seed.migrations; SELECT unfinished FROM pgvector_seed.deployment; and only then: {revoke};"
)


def refuse_untrusted(ledger: Ledger, migrations: Sequence[Migration], undo: Sequence[str] = ()) -> None:
    """Raise RefusedError if a down differs from its file, or SQL that only the ledger holds may be another role's.

    ``undo`` has the ids whose down is about to run. What was begun outside of a transaction counts, too.
    """
    files = dict(texts(migrations))
    downs = {down_file(id_): ledger.migrations[id_].down for id_ in undo}
    with_files = {down_file(id_) for id_ in undo if up_file(id_) in files}
    missing = [file for file in downs if file in with_files and file not in files]
    if missing:
        raise RefusedError(f"{', '.join(missing)} is missing", _MISSING)
    changed = [file for file in downs if file in with_files and files[file] != downs[file]]
    if changed:
        raise RefusedError(f"{', '.join(changed)} is not what the ledger keeps", _CHANGED)
    alone = [file for file in downs if file not in with_files]
    begun = ledger.unfinished
    if begun and files.get(begun["file"]) != begun["text"]:
        alone.append(begun["file"])
    if alone:
        refuse_if_others_write(ledger, ", ".join(alone), _ALONE.format(revoke=_revoke(ledger)))


def refuse_another_schema(recorded: str, named: str) -> None:
    """Raise RefusedError if the deployment is in another schema than the one that was named."""
    if recorded != named:
        name = shlex.quote(recorded)
        raise RefusedError(
            f"this database's migrations were applied in the schema {recorded}, not {named}",
            f"If the deployment is there, name it: --schema {name} (Pulumi: {setting('schema', name)}). If it is "
            f"not, another role has changed the ledger: see who may write to it, with {PROGRAM} verify",
        )


def _revoke(ledger: Ledger) -> str:
    writers = ledger.writers
    members = f"REVOKE pg_write_all_data FROM {', '.join(writers.of_all_data)} CASCADE"
    return "; ".join([*([writers.revoke] if writers.granted else []), *([members] if writers.of_all_data else [])])
