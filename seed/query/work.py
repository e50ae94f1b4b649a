"""Run ``python -m seed query``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from shutil import get_terminal_size
from typing import Any

import click

from pgvector_seed.common.errors import WrongResultError
from pgvector_seed.common.remedies import needing_extra
from pgvector_seed.common.text import lines, printable
from pgvector_seed.data.answer import Answer, answering, answering_exactly, parameters_of
from pgvector_seed.data.asking import run
from pgvector_seed.data.many import answer_many
from pgvector_seed.data.plans import plan_of
from pgvector_seed.data.query_vector import register
from pgvector_seed.data.search import Question, Search, find_search
from pgvector_seed.data.stored import find_key, sum_of, without_rows
from pgvector_seed.data.sums import Term, parse_sum
from pgvector_seed.postgres.connection import Connection, connect
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.interrupt import ending_with_client

from .options import Options, check_texts, check_usage, column_names
from .output import as_data, as_json, as_table, plan_as_text
from .values import load_as_shown

_DENSE = ("vector", "halfvec")


def query(
    *,
    vector: str | None,
    id_: str | None,
    sum_: str | None,
    file: str | None,
    table: str | None,
    column: str | None,
    metric: str | None,
    k: int,
    where: str | None,
    values: Sequence[str],
    key: str | None,
    columns: Sequence[str],
    exact: bool,
    no_exact: bool,
    ef_search: int | None,
    probes: int | None,
    explain: bool,
    as_json: bool,
) -> None:
    """Answer one query, or every query of a file, and print the answers."""
    check_usage({"VECTOR": vector, "--id": id_, "--sum": sum_, "--file": file}, key)
    if exact and (no_exact or ef_search or probes):
        raise click.UsageError("--exact searches all rows: leave out --no-exact, --ef-search and --probes.")
    if explain and file is not None:
        raise click.UsageError("--explain is for one query: leave out --file.")
    check_texts([vector, id_, sum_, table, column, where, key, *values, *columns])
    _never_fail_to_print()
    question = Question(table, column, metric, where, len(values), column_names(columns), ef_search, probes)
    options = Options(k, values, exact, not no_exact, explain, as_json)
    terms = (Term(id_),) if id_ is not None else parse_sum(sum_) if sum_ is not None else ()
    with connect() as connection, translated("searching"):
        connection.execute(ending_with_client(local=False))
        search = find_search(connection, question)
        if file is not None:
            _answer_file(connection, search, file, options)
        elif terms:
            _answer_terms(connection, search, terms, key, options)
        else:
            _answer_one(connection, search, vector, options)


def _never_fail_to_print() -> None:
    """Have characters that the encoding of the output lacks printed as escapes."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _answer_terms(
    connection: Connection, search: Search, terms: Sequence[Term], key: str | None, options: Options
) -> None:
    """Answer a query by stored vectors, without their own rows."""
    column = find_key(connection, search.target, key)
    vector = sum_of(connection, search, column, terms)
    words = [term.word for term in terms]
    others = without_rows(search, column, len(words))
    _answer_one(connection, others, vector, replace(options, values=(*options.values, *words)))


def _answer_one(connection: Connection, search: Search, vector: Any, options: Options) -> None:
    register(connection)
    parameters = parameters_of(search, vector, options.k, options.values)
    use = plan_of(connection, search, parameters, exact=options.exact) if options.explain else None
    _load_as_shown(connection, search)
    if options.exact:
        answer = run(connection, answering_exactly(search, parameters))
    else:
        answer = run(connection, answering(search, parameters, fallback=options.fallback))
    _require_answer(answer, options)
    if options.as_json:
        click.echo(as_json(as_data(search, answer, use), indent=2))
    else:
        _print(search, answer)
        if use is not None:
            click.echo(plan_as_text(use))


def _answer_file(connection: Connection, search: Search, file: str, options: Options) -> None:
    with needing_extra("load", "--file"):
        from pgvector_seed.data.questions import read_questions
    _load_as_shown(connection, search)
    questions = read_questions(file, search)
    answers = answer_many(
        connection, search, questions, options.k, options.values, exact=options.exact, fallback=options.fallback
    )
    number = 0
    for number, answer in enumerate(answers, start=1):
        _require_answer(answer, options)
        if options.as_json:
            click.echo(as_json({"query": number, **as_data(search, answer)}, indent=-1))
        else:
            click.echo(f"query {number:,}")
            _print(search, answer, f"query {number:,}: ")
            click.echo()
    if not number:
        click.echo(f"note: {printable(file)} has no query", err=True)


def _require_answer(answer: Answer, options: Options) -> None:
    """Raise WrongResultError if an exact search was stopped, which leaves no answer."""
    if options.exact and not answer.exact:
        raise WrongResultError(answer.note or "there is no answer", "Search fewer rows by --where, or by an index.")


def _load_as_shown(connection: Connection, search: Search) -> None:
    columns = search.target.columns.values()
    load_as_shown(connection, {column.type_oid for column in columns if column.type in _DENSE})


def _print(search: Search, answer: Answer, place: str = "") -> None:
    """Print an answer as a table, as wide as the terminal if there is one, and its note on stderr."""
    width = get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo("\n".join(line for text in as_table(search, answer, width) for line in lines(text)))
    if answer.note:
        click.echo(f"note: {place}{printable(answer.note)}", err=True)
