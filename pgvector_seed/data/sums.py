"""Sums and differences in words, such as king - man + woman."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pgvector_seed.common.errors import InputError
from pgvector_seed.common.text import printable

_SIGNS = {"+": 1, "-": -1}
_TOKEN = re.compile(r"""'((?:[^']|'')*)'(?=\s|$)|"((?:[^"]|"")*)"(?=\s|$)|(\S+)""")
_EXAMPLE = "Such as: 'king - man + woman', with spaces around + and -, and quotes around a term that has spaces"


@dataclass(frozen=True)
class Term:
    """A stored vector in a sum, by the key of its row. ``sign`` is 1 or -1."""

    word: str
    sign: int = 1


def parse_sum(text: str) -> tuple[Term, ...]:
    """Return the terms of a sum. + and - are operators if they stand between spaces; elsewhere they are part of a word.

    A term in quotes may have spaces, and a doubled quote stands for one. Raises InputError for anything else.
    """
    tokens = [_token(*match.groups()) for match in _TOKEN.finditer(text)]
    if not tokens:
        raise InputError("the sum has no term", _EXAMPLE)
    has_sign = len(tokens) > 1 and tokens[0] in _SIGNS and tokens[1] not in _SIGNS
    if not has_sign:
        tokens.insert(0, "+")
    for place, operator in enumerate(tokens[::2]):
        if operator not in _SIGNS:
            before = _shown(tokens[2 * place - 1])
            raise InputError(f"the sum has neither + nor - between {before} and {_shown(operator)}", _EXAMPLE)
    if len(tokens) % 2:
        raise InputError(f"the sum has no term after its last {tokens[-1]}", _EXAMPLE)
    terms = (term.word if isinstance(term, _Quoted) else term for term in tokens[1::2])
    return tuple(Term(word, _SIGNS[str(sign)]) for sign, word in zip(tokens[::2], terms, strict=True))


@dataclass(frozen=True)
class _Quoted:
    """A term in quotes, which is never an operator."""

    word: str


def _token(single: str | None, double: str | None, plain: str) -> str | _Quoted:
    if single is not None:
        return _Quoted(single.replace("''", "'"))
    return _Quoted(double.replace('""', '"')) if double is not None else plain


def _shown(token: str | _Quoted) -> str:
    return printable(token.word if isinstance(token, _Quoted) else token)
