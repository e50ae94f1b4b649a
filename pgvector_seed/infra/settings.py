"""The key ``readerSettings`` of the stack's configuration: settings of the sessions that read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from pgvector_seed.common.remedies import setting_name
from pgvector_seed.infra.validation import shown, with_command
from pgvector_seed.vectors.settings import fault_of_setting, fault_of_value

KEY = "readerSettings"


def read_settings(raw: str) -> tuple[dict[str, Any], list[str]]:
    """Return the settings by name, and the faults, each with the command that fixes it."""
    try:
        settings = json.loads(raw)
    except ValueError:
        settings = None
    if not isinstance(settings, dict):
        fault = f"{KEY}: must map settings to values, as in {{hnsw.ef_search: 100}}; got {shown(raw)}"
        return {}, [with_command(fault, f"pulumi config rm {KEY}")]
    return settings, [with_command(fault, command) for fault, command in faults_of_settings(settings)]


def faults_of_settings(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each fault of the settings, with the command that fixes the configuration."""
    for name, value in settings.items():
        path = f"[{json.dumps(name, default=repr)}]"
        if fault := fault_of_setting(name):
            yield f"{setting_name(KEY)}{path}: {fault}", f"pulumi config rm --path {_path(name)}{_in_one(name, value)}"
        elif fault := fault_of_value(value):
            yield f"{setting_name(KEY)}{path}: {fault}; got {shown(value)}", f"{set_command(name)} 1"


def set_command(name: str) -> str:
    """Return the command that sets one of the settings, without the value."""
    return f"pulumi config set --path {_path(name)}"


def _path(name: str) -> str:
    return shlex.quote(f"{KEY}[{json.dumps(name, default=repr)}]")


def _in_one(name: str, value: Any) -> str:
    """Return the commands for a map, as from ``--path readerSettings.hnsw.ef_search``: a name has its dot inside."""
    parts = [(f"{name}.{part}", text) for part, text in value.items()] if isinstance(value, Mapping) else []
    good = [(full, text) for full, text in parts if not (fault_of_setting(full) or fault_of_value(text))]
    return "".join(f"; {set_command(full)} {shlex.quote(str(text))}" for full, text in good)
