"""The settings that an `up` would change, for a preview without Pulumi's engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pgvector_seed.migrate.contract import as_data
from pgvector_seed.migrate.declaration import Declaration


def changed_settings(recorded: Declaration, declared: Declaration) -> Iterator[str]:
    """Yield a line for each setting that differs, such as ``onDestroy: revert -> retain``."""
    before, after = (dict(_leaves(as_data(declaration))) for declaration in (recorded, declared))
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            name, *rest = path
            key = ".".join([re.sub("_(.)", lambda match: match[1].upper(), name), *rest])
            yield f"{key}: {_shown(before.get(path))} -> {_shown(after.get(path))}"


def _leaves(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the values of nested maps, each with the keys on the way to it."""
    if not isinstance(data, dict):
        yield path, data
        return
    for key, value in data.items():
        yield from _leaves(value, (*path, key))


def _shown(value: Any) -> str:
    return "not set" if value is None else value if isinstance(value, str) else json.dumps(value)
