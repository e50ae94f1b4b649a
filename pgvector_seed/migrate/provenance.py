"""The provenance of SQL that is about to run: a file, or the ledger if no other role may write to it.

A role that may write to the ledger could otherwise change a recorded down, and have a superuser run it.
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
from pgvector_seed.migrate.script import file_texts

_CHANGED = (
    "Restore the file as it was applied. Or record it as it is now, which also applies pending migrations, and undo "
    f"again: {PROGRAM} migrate apply (Pulumi: pulumi up --refresh)"
)
_MISSING = "Restore it: a down is run from its file while the up has one."
_ALONE = (
    "Restore the file, so that nothing is run from the ledger. Or review the ledger in psql: SELECT id, down FROM "
    "pgvector_seed.migrations; SELECT unfinished FROM pgvector_seed.deployment; and only then: {revoke};"
)


def refuse_untrusted(ledger: Ledger, migrations: Sequence[Migration], undo: Sequence[str] = ()) -> None:
    """Raise RefusedError if a down differs from its file, or is only in a ledger to which other roles may write.

    ``undo`` are the ids whose downs are about to run. An unfinished statement is checked in the same way.
    """
    files = dict(file_texts(migrations))
    downs = {down_file(id_): ledger.migrations[id_].down for id_ in undo}
    with_files = {down_file(id_) for id_ in undo if up_file(id_) in files}
    missing = [file for file in downs if file in with_files and file not in files]
    if missing:
        raise RefusedError(f"{', '.join(missing)} is missing", _MISSING)
    changed = [file for file in downs if file in with_files and files[file] != downs[file]]
    if changed:
        raise RefusedError(f"{', '.join(changed)} differs from the ledger's copy", _CHANGED)
    alone = [file for file in downs if file not in with_files]
    begun = ledger.unfinished
    if begun and files.get(begun["file"]) != begun["text"]:
        alone.append(begun["file"])
    if alone:
        refuse_if_others_write(ledger, ", ".join(alone), _ALONE.format(revoke=_revoke(ledger)))


def refuse_another_schema(recorded: str, named: str) -> None:
    """Raise RefusedError if the ledger records another schema than the ``named`` one."""
    if recorded != named:
        name = shlex.quote(recorded)
        raise RefusedError(
            f"the migrations of this database were applied in the schema {recorded}, not {named}",
            f"If the deployment is in it, name it: --schema {name} (Pulumi: {setting('schema', name)}). If not, "
            f"another role has changed the ledger: {PROGRAM} verify names the roles that may write to it",
        )


def _revoke(ledger: Ledger) -> str:
    writers = ledger.writers
    members = f"REVOKE pg_write_all_data FROM {', '.join(writers.of_all_data)} CASCADE"
    return "; ".join([*([writers.revoke] if writers.granted else []), *([members] if writers.of_all_data else [])])
