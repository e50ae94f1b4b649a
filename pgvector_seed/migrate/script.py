"""What a migration's text asks for: its statements, and whether they run in a transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from pgvector_seed.common.errors import InputError
from pgvector_seed.migrate import concurrently
from pgvector_seed.migrate.files import Migration, down_file, up_file
from pgvector_seed.migrate.scanner import Statement, UnclosedError, comments, split

DIRECTIVE = "pgvector-seed:"
NO_TRANSACTION = "no-transaction"
MARK = f"-- {DIRECTIVE} {NO_TRANSACTION}"

_PLAIN = re.compile(r"""([^\W\d][\w$]*|"(?:[^"]|"")+")(\.([^\W\d][\w$]*|"(?:[^"]|"")+"))*""")
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


def texts(migrations: Iterable[Migration]) -> Iterator[tuple[str, str]]:
    """The name and the text of every file."""
    for migration in migrations:
        yield up_file(migration.id), migration.up
        if migration.down is not None:
            yield down_file(migration.id), migration.down


def refuse_faults(texts: Iterable[tuple[str, str]]) -> None:
    """Raise InputError that names every fault of every file's text, as far as it can be told without a server."""
    found = [fault for file, text in texts for fault in _faults(file, text)]
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
    for statement in statements[:1]:
        built = concurrently.built(statement)
        if built and not (_PLAIN.fullmatch(built.name) and _PLAIN.fullmatch(built.table)):
            yield f"{file}: the index needs a plain name and table, by which the rest of an interrupted build is found"
        if not (built or concurrently.dropped(statement) or _is_repeatable(statement)):
            yield (
                f"{file}: {NO_TRANSACTION} is for CREATE INDEX CONCURRENTLY, DROP INDEX CONCURRENTLY, VACUUM and ALTER "
                "SYSTEM; of another statement nobody could tell after an interruption whether it was done"
            )


def _names_utf8(statement: Statement) -> bool:
    return any(token.strip("'\"").upper().replace("-", "") == "UTF8" for token in statement.tokens)


def _is_repeatable(statement: Statement) -> bool:
    return statement.words[0] == "VACUUM" or statement.words[:2] == ["ALTER", "SYSTEM"]


def _faults_of(file: str, statement: Statement) -> Iterator[str]:
    word = _WORD.match(statement.text)
    first = word[0].upper() if word else ""
    # The whole statement is read for its tokens only where it may matter: there may be many.
    if first in _TRANSACTION_CONTROL or (first == "PREPARE" and statement.words[1:2] == ["TRANSACTION"]):
        yield f"{file}, line {statement.line}: {first}: the transaction is not the migration's to control"
    setting = [word for word in statement.words[1:4] if word not in ("SESSION", "LOCAL")][:1] if first == "SET" else []
    if setting == ["TRANSACTION"]:
        yield f"{file}, line {statement.line}: SET TRANSACTION: the transaction is not the migration's to control"
    if setting == ["AUTHORIZATION"]:
        yield f"{file}, line {statement.line}: SET SESSION AUTHORIZATION: use SET ROLE, which is taken back"
    if setting in (["CLIENT_ENCODING"], ["NAMES"]) and not _names_utf8(statement):
        yield f"{file}, line {statement.line}: the files are UTF-8, and so is the session"
    if first == "COPY" and {("FROM", "STDIN"), ("TO", "STDOUT")} & set(pairwise(statement.words)):
        yield f"{file}, line {statement.line}: COPY from or to a client: write INSERT instead"
