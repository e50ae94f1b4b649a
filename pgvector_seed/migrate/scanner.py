"""Splitting a SQL text into statements, by the rules of PostgreSQL's scanner and of psql.

A semicolon ends a statement unless it is quoted, commented out, in parentheses (as in CREATE RULE),
or in the BEGIN ATOMIC body of a routine. ``standard_conforming_strings`` is taken to be on.
Source: the chapter "Lexical Structure" of PostgreSQL's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

# To PostgreSQL, every character beyond ASCII is a letter. These classes exclude ASCII's other characters instead of
# naming a range up to U+10FFFF, which takes Python 15 ms to compile.
_LETTER = r"[^\x00-@\[-^`{-\x7f]"
_LETTER_OR_DIGIT = r"[^\x00-/:-@\[-^`{-\x7f]"
_LETTER_DIGIT_OR_DOLLAR = r"[^\x00-\x23%-/:-@\[-^`{-\x7f]"
WORD = rf"{_LETTER}{_LETTER_DIGIT_OR_DOLLAR}*"
# ``open`` matches an unclosed quote, since ``quoted`` has matched the closed ones.
_TOKEN = re.compile(
    rf"""
    (?P<space>   [ \t\n\r\f\v]+ )
  | (?P<comment> --[^\n]* )
  | (?P<quoted>  [eE]'(?:[^'\\]|\\.|'')*+'
                 (?:[ \t\f\v]*(?:--[^\n]*)?\n(?:[ \t\n\r\f\v]|--[^\n]*\n)*+'(?:[^'\\]|\\.|'')*+')*+  # on the next line
               | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*+'
               | (?:[uU]&)?"(?:[^"]|"")*+"
               | \$(?P<tag>(?:{_LETTER}{_LETTER_OR_DIGIT}*)?)\$.*?\$(?P=tag)\$ )
  | (?P<open>    (?:[bBeEnNxX]|[uU]&)?' | (?:[uU]&)?" | \$(?:{_LETTER}{_LETTER_OR_DIGIT}*)?\$ )
  | (?P<word>    {WORD} )
  | (?P<number>  \$?[0-9][0-9A-Za-z_.]* )
  | (?P<nested>  /\* )
  | (?P<sign>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
_EDGE_OF_COMMENT = re.compile(r"/\*|\*/")
_DEEPER = {"(": 1, ")": -1}
_ROUTINES = (["CREATE", "FUNCTION"], ["CREATE", "PROCEDURE"])


class UnclosedError(ValueError):
    """The text has a quote or a comment that is never closed."""

    def __init__(self, text: str, position: int) -> None:
        line = text.count("\n", 0, position) + 1
        super().__init__(f"line {line}: a quote or a comment that is never closed")


@dataclass(frozen=True)
class Statement:
    """A statement without its semicolon. ``line`` is its first line in the text, counted from 1."""

    text: str
    line: int

    @cached_property
    def tokens(self) -> list[str]:
        """The words, names, strings and signs of the statement as it writes them."""
        return [match[0] for match in _tokens(self.text) if match.lastgroup not in ("space", "comment")]

    @cached_property
    def words(self) -> list[str]:
        """The tokens in upper case, to be compared with keywords."""
        return [token.upper() for token in self.tokens]

    def without(self, word: str) -> Statement:
        """Return the statement without the first occurrence of a keyword, in upper case."""
        words = (match for match in _tokens(self.text) if match.lastgroup == "word")
        match = next(match for match in words if match[0].upper() == word)
        return Statement(self.text[: match.start()] + self.text[match.end() :], self.line)


def split(text: str) -> list[Statement]:
    """Return the statements of a text, in order.

    Raises UnclosedError if a quote or a comment is never closed.
    """
    statements: list[Statement] = []
    line, counted, start, end, nesting = 1, 0, -1, 0, _Nesting()
    for match in _tokens(text):
        if match.lastgroup in ("space", "comment"):
            continue
        ends = match[0] == ";" and not nesting
        if start < 0 and not ends:
            start = match.start()
            line, counted, nesting = line + text.count("\n", counted, start), start, _Nesting()
        if not ends:
            end = match.end()
            nesting.feed(match[0])
        elif start >= 0:
            statements.append(Statement(text[start:end], line))
            start = -1
    return statements if start < 0 else [*statements, Statement(text[start:end], line)]


def comments(text: str) -> list[str]:
    """Return the contents of the ``--`` comments of a text, in order.

    Raises UnclosedError if a quote or a comment is never closed.
    """
    return [match[0][2:].strip() for match in _tokens(text) if match.lastgroup == "comment"]


class _Nesting:
    """The depth of parentheses and BEGIN ATOMIC bodies after the tokens so far. An instance is false at depth 0."""

    def __init__(self) -> None:
        self.parentheses = 0
        self.blocks = 0
        self.head: list[str] = []
        self.previous = ""

    def __bool__(self) -> bool:
        return bool(self.parentheses or self.blocks)

    def feed(self, token: str) -> None:
        """Update the nesting with the next token of the statement."""
        if token in _DEEPER:
            self.parentheses = max(0, self.parentheses + _DEEPER[token])
        elif len(self.head) < 2:
            self.head += [token.upper()] if token.upper() not in ("OR", "REPLACE") else []
        elif self.head in _ROUTINES:
            self._feed_routine(token.upper())

    def _feed_routine(self, word: str) -> None:
        is_name = self.previous in ("AS", ".")
        if (self.previous, word) == ("BEGIN", "ATOMIC") or (self.blocks and word == "CASE" and not is_name):
            self.blocks += 1
        elif self.blocks and word == "END" and not is_name:
            self.blocks -= 1
        self.previous = word


def _tokens(text: str) -> Iterator[re.Match[str]]:
    """Yield every token of a text, including ``--`` comments but not ``/* */`` ones, which may be nested."""
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None, "the last alternative matches any character"
        if match.lastgroup == "open":
            raise UnclosedError(text, position)
        if match.lastgroup == "nested":
            position = _end_of_comment(text, position)
            continue
        yield match
        position = match.end()


def _end_of_comment(text: str, start: int) -> int:
    depth = 0
    for edge in _EDGE_OF_COMMENT.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    raise UnclosedError(text, start)
