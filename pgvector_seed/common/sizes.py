"""Sizes of memory in PostgreSQL's units, and in words."""

from __future__ import annotations

import re

_UNITS = {"kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_SIZE = re.compile(rf"([0-9]{{1,9}}) ?({'|'.join(_UNITS)})")


def parse_size(text: str) -> int | None:
    """Return the bytes of a size such as 512MB, in PostgreSQL's units, or None for another text."""
    match = _SIZE.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else None


def fault_of_size(text: str) -> str | None:
    """Return the fault of a size, or None."""
    return None if parse_size(text) else f"must be a size in kB, MB, GB or TB, such as 2GB; got {text!r}"


def shown_size(size: float) -> str:
    """Return a number of bytes in the largest unit of which there is at least one."""
    for unit, factor in reversed(_UNITS.items()):
        if size >= factor:
            return f"{size / factor:,.0f} {unit}" if size >= 10 * factor else f"{size / factor:.1f} {unit}"
    return f"{size:.0f} bytes"
