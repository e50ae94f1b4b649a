"""What a migration's text asks for: its statements, and whether they run in a transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from migrate import concurrently
from migrate.files import Migration, down_file, up_file
from migrate.statements import Statement, UnclosedError, comments, split
from postgres.errors import InputError

DIRECTIVE = "pgvector-seed:"
NO_TRANSACTION = "no-transaction"
MARK = f"-- {DIRECTIVE} {NO_TRANSACTION}"

_WORD = re.compile(r"\w+")
_TRANSACTION_CONTROL = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"}


@dataclass(frozen=True)
class Script:
    """The statements of a text, and what its comments say to us. Marked no-transaction, it has one statement."""

    statements: list[Statement]
    directives: frozenset[str]

    @property
    def in_transaction(self) -> bool:
        """True when the statements and their record are one transaction."""
        return NO_TRANSACTION not in self.directives


def parse(text: str) -> Script:
    """What a text asks for, in which ``refuse_faults`` finds nothing."""
    return Script(split(text), frozenset(_directives(text)))


def refuse_faults(migrations: Iterable[Migration]) -> None:
    """Raise InputError that names every fault of every text, as far as it can be told without a server."""
    found: list[str] = []
    for migration in migrations:
        found += _faults(up_file(migration.id), migration.up)
        if migration.down is not None:
            found += _faults(down_file(migration.id), migration.down)
    if found:
        raise InputError("; ".join(found), "Mend the files and run the same command again.")


def _directives(text: str) -> list[str]:
    if DIRECTIVE not in text:
        return []
    said = (comment for comment in comments(text) if comment.startswith(DIRECTIVE))
    return [comment.removeprefix(DIRECTIVE).strip() for comment in said]


def _faults(file: str, text: str) -> list[str]:
    try:
        script = parse(text)
    except UnclosedError as error:
        return [f"{file}, {error}"]
    found = [
        f"{file}: {DIRECTIVE} {name} is unknown; {MARK} is known"
        for name in sorted(script.directives - {NO_TRANSACTION})
    ]
    if not script.statements:
        found.append(f"{file}: no statement in it")
    if not script.in_transaction:
        found += _faults_alone(file, script.statements)
    return found + [fault for statement in script.statements for fault in _faults_of(file, statement)]


def _faults_alone(file: str, statements: list[Statement]) -> Iterator[str]:
    if len(statements) > 1:
        yield f"{file}: {NO_TRANSACTION} is for one statement, and there are {len(statements)}"
    built = concurrently.built(statements[0]) if statements else None
    if built and not built.name:
        yield f"{file}: the index needs a name, by which the rest of an interrupted build is found"


def _faults_of(file: str, statement: Statement) -> Iterator[str]:
    word = _WORD.match(statement.text)
    first = word[0].upper() if word else ""
    # The whole statement is read for its tokens only where it may matter: there may be many.
    if first in _TRANSACTION_CONTROL or (first == "PREPARE" and statement.words[1:2] == ["TRANSACTION"]):
        yield f"{file}, line {statement.line}: {first}: the transaction is not the migration's to control"
    if first == "COPY" and {"STDIN", "STDOUT"} & set(statement.words):
        yield f"{file}, line {statement.line}: COPY from or to a client: write INSERT instead"
