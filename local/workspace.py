"""The folder under ``.local/`` that belongs to one server: what Pulumi keeps, and how to reach the server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from psycopg import pq

from local import files
from local.options import Options
from local.server import Server
from postgres.connection import resolve

ROOT = Path(__file__).parent.parent
LOCAL = ROOT / ".local"
PROJECT = "pgvector-seed"
STACK = "dev"


@dataclass(frozen=True)
class Workspace:
    """What belongs to one server, under ``folder``. ``server`` is None where it is not our own."""

    folder: Path
    server: Server | None

    @classmethod
    def of(cls, options: Options) -> Workspace:
        """The workspace that the make variables name."""
        folder = LOCAL / (str(options.major) if options.own_server else "env")
        return cls(folder, Server(folder, options.major) if options.own_server else None)

    @property
    def config_file(self) -> Path:
        """The copy of the stack's file that the engine may write to."""
        return self.folder / f"Pulumi.{STACK}.yaml"

    def prepare(self) -> None:
        """Make what Pulumi needs, where it is missing."""
        (self.folder / "state").mkdir(mode=0o700, parents=True, exist_ok=True)
        files.secret(self.folder / "passphrase")
        files.write(self.folder / "Pulumi.yaml", (ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
        self._copy_config()

    def libpq(self) -> dict[str, str]:
        """The connection as PG* variables. A service is written out: the provider cannot follow one beside a host."""
        if self.server is not None:
            return self.server.environment
        if "PGSERVICE" not in os.environ:
            return {name: value for name, value in os.environ.items() if name.startswith("PG")}
        found = resolve({})
        names = {
            option.keyword.decode(): option.envvar.decode() for option in pq.Conninfo.get_defaults() if option.envvar
        }
        return {names[key]: value for key, value in found.items() if key in names and key != "service"}

    def pulumi(self) -> dict[str, str]:
        """Where Pulumi keeps its state and finds its configuration; a backend in the shell is respected."""
        found = {"PULUMI_OPTION_CONFIG_FILE": str(self.config_file), "PULUMI_STACK": STACK}
        if not {"PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN"} & os.environ.keys():
            found["PULUMI_BACKEND_URL"] = (self.folder / "state").as_uri()
            found["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(self.folder / "passphrase")
        return found

    def environment(self) -> dict[str, str]:
        """The whole environment for a command of ours: the caller's, less its PG*, with this server's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        found = {**kept, **self.libpq(), **self.pulumi(), "PULUMI_SKIP_UPDATE_CHECK": "true"}
        if "PULUMI_CONFIG_PASSPHRASE_FILE" in self.pulumi():
            found.pop("PULUMI_CONFIG_PASSPHRASE", None)  # the engine prefers it to the file
        return found

    def _copy_config(self) -> None:
        """Bring the repository's stack file into our copy, and keep what was set in the copy since."""
        original = (ROOT / self.config_file.name).read_text(encoding="utf-8")
        last = files.read(self.folder / "original.yaml")
        if original == last and self.config_file.exists():
            return
        merged = _merge(_parse(last), _parse(original), _parse(files.read(self.config_file)))
        files.write(self.config_file, yaml.safe_dump(merged, sort_keys=False))
        files.write(self.folder / "original.yaml", original)


def _parse(text: str | None) -> dict[str, Any]:
    return yaml.safe_load(text or "") or {}


def _merge(last: Mapping[str, Any], original: Mapping[str, Any], copy: Mapping[str, Any]) -> dict[str, Any]:
    """The new original, with every key of the copy that differs from the original it was made from."""
    before, now = last.get("config") or {}, copy.get("config") or {}
    own = {key: value for key, value in now.items() if key not in before or before[key] != value}
    return {
        **original,
        **{key: copy[key] for key in copy if key != "config"},
        "config": {**original.get("config", {}), **own},
    }
