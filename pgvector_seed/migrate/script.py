"""The text of a migration as statements and directives, and the faults that need no server to be found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from pgvector_seed.common.errors import InputError
from pgvector_seed.migrate import concurrently
from pgvector_seed.migrate.files import Migration, down_file, up_file
from pgvector_seed.migrate.scanner import WORD, Statement, UnclosedError, comments, split

DIRECTIVE = "pgvector-seed:"
NO_TRANSACTION = "no-transaction"
MARK = f"-- {DIRECTIVE} {NO_TRANSACTION}"

_NAME = rf'(?:{WORD}|"(?:[^"]|"")+")'
_PLAIN = re.compile(rf"{_NAME}(\.{_NAME})*")
_WORD = re.compile(r"\w+")
_TRANSACTION_CONTROL = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"}


@dataclass(frozen=True)
class Script:
    """The statements of a text, and the directives in its comments. With no-transaction, it has one statement."""

    statements: list[Statement]
    directives: frozenset[str]

    @property
    def in_transaction(self) -> bool:
        """True if the statements and their row in the ledger are one transaction."""
        return NO_TRANSACTION not in self.directives


def parse(text: str) -> Script:
    """Return the statements and directives of a text. Raises UnclosedError as ``split`` does."""
    return Script(split(text), frozenset(_directives(text)))


def file_texts(migrations: Iterable[Migration]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every file."""
    for migration in migrations:
        yield up_file(migration.id), migration.up
        if migration.down is not None:
            yield down_file(migration.id), migration.down


def refuse_faults(texts: Iterable[tuple[str, str]]) -> None:
    """Raise InputError with every fault of ``texts``, pairs of file name and text, that needs no server to be found."""
    faults = [fault for file, text in texts for fault in _faults(file, text)]
    if faults:
        raise InputError("; ".join(faults), "Fix the files and run the same command again.")


def _directives(text: str) -> list[str]:
    if DIRECTIVE not in text:
        return []
    return [line.removeprefix(DIRECTIVE).strip() for line in comments(text) if line.startswith(DIRECTIVE)]


def _faults(file: str, text: str) -> list[str]:
    try:
        script = parse(text)
    except UnclosedError as error:
        return [f"{file}, {error}"]
    faults = [
        f"{file}: {DIRECTIVE} {name} is unknown; the only directive is {MARK}"
        for name in sorted(script.directives - {NO_TRANSACTION})
    ]
    if not script.statements:
        advice = "; without a down, delete the file" if file.endswith(".down.sql") else ""
        faults.append(f"{file}: no statement in it{advice}")
    if not script.in_transaction:
        faults += _faults_outside_transaction(file, script.statements)
    return faults + [fault for statement in script.statements for fault in _statement_faults(file, statement)]


def _faults_outside_transaction(file: str, statements: list[Statement]) -> Iterator[str]:
    if len(statements) > 1:
        yield f"{file}: {NO_TRANSACTION} is for one statement; got {len(statements)}"
    for statement in statements[:1]:
        built = concurrently.built_index(statement)
        if built and not (_PLAIN.fullmatch(built.name) and _PLAIN.fullmatch(built.table)):
            yield f"{file}: the index needs a plain name and table, by which an interrupted build is found again"
        if not (built or concurrently.dropped_index(statement) or _is_repeatable(statement)):
            yield (
                f"{file}: {NO_TRANSACTION} is for CREATE INDEX CONCURRENTLY, DROP INDEX CONCURRENTLY, VACUUM and ALTER "
                "SYSTEM; for no other statement is it certain after an interruption whether it was done"
            )


def _names_utf8(statement: Statement) -> bool:
    return any(token.strip("'\"").upper().replace("-", "") == "UTF8" for token in statement.tokens)


def _is_repeatable(statement: Statement) -> bool:
    return statement.words[0] == "VACUUM" or statement.words[:2] == ["ALTER", "SYSTEM"]


def _statement_faults(file: str, statement: Statement) -> Iterator[str]:
    word = _WORD.match(statement.text)
    first = word[0].upper() if word else ""
    # statement.words scans the whole text, so it is read only after a first word that needs it.
    if first in _TRANSACTION_CONTROL or (first == "PREPARE" and statement.words[1:2] == ["TRANSACTION"]):
        yield f"{file}, line {statement.line}: {first}: a migration cannot control its transaction"
    setting = [word for word in statement.words[1:4] if word not in ("SESSION", "LOCAL")][:1] if first == "SET" else []
    if setting == ["TRANSACTION"]:
        yield f"{file}, line {statement.line}: SET TRANSACTION: a migration cannot control its transaction"
    if setting == ["AUTHORIZATION"]:
        yield f"{file}, line {statement.line}: SET SESSION AUTHORIZATION: use SET ROLE, which is reset"
    if setting in (["CLIENT_ENCODING"], ["NAMES"]) and not _names_utf8(statement):
        yield f"{file}, line {statement.line}: the files are UTF-8, and so is the session"
    if first == "COPY" and {("FROM", "STDIN"), ("TO", "STDOUT")} & set(pairwise(statement.words)):
        yield f"{file}, line {statement.line}: COPY from or to a client: write INSERT instead"
