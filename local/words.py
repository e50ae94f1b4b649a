"""The steps of `make words` after its program is deployed: words with their vectors, an index, two questions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from local.workspace import LOCAL, ROOT
from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.connection import connect
from pgvector_seed.postgres.errors import translated
from pgvector_seed.postgres.snapshot import query_catalog

PICTURES = LOCAL / "words"
SUMS = ("king - man + woman", "paris - france + germany")
FEWEST, USUAL, MOST = 20_000, 100_000, 400_000  # words; heroine, the rarest one of the picture, is the 15,834th
INDEX = "words_embedding_hnsw"
_HAS_INDEX = "SELECT to_regclass(%s) IS NOT NULL"
_MISSES_WORD = "SELECT NOT EXISTS (SELECT FROM public.words WHERE id OPERATOR(pg_catalog.=) %s)"


def read_count(environment: Mapping[str, str]) -> int:
    """Return the number of words to load, of the variable WORDS. Raises InputError if it is not valid."""
    text = environment.get("WORDS") or str(USUAL)
    if not (re.fullmatch("[0-9]{1,9}", text) and FEWEST <= int(text) <= MOST):
        fault = f"WORDS must be a number from {FEWEST} to {MOST}; got {text!r}"
        raise InputError(fault, f"As in: make words WORDS={MOST}")
    return int(text)


def steps(count: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the title and the words of each command of python."""
    if _should_drop_index(count):
        yield "Index", ["-m", "seed", "index", "drop", INDEX]
    yield "Load", ["-m", "examples.words.fill", str(count)]
    yield "Index", ["-m", "seed", "index", "build"]
    for words in SUMS:
        yield "Query", ["-m", "seed", "query", "--sum", words, "--key", "word", "-k", "3"]
    yield "Picture", ["-m", "examples.words.picture", str(PICTURES.relative_to(ROOT))]


def _should_drop_index(count: int) -> bool:
    """Return True if there is an index, and words will be added: a new index takes a quarter of the time."""
    with connect() as connection, translated("looking for the words"):
        is_built = query_catalog(connection, _HAS_INDEX, (f"public.{INDEX}",)) == [(True,)]
        return is_built and connection.execute(_MISSES_WORD, (count,)).fetchone() == (True,)
