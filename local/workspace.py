"""The folder under ``.local/`` that belongs to one server: what Pulumi keeps, and how to reach the server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from psycopg import pq

from local.options import Options
from local.server import Server
from pgvector_seed.common import files
from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.auth import OWN_SERVER
from pgvector_seed.postgres.conninfo import resolve

ROOT = Path(__file__).parent.parent
LOCAL = ROOT / ".local"
PROJECT = "pgvector-seed"
STACK = "dev"
OURS = "PGVECTOR_SEED_"  # none of libpq's
BACKEND = f"{OURS}BACKEND"  # marks a PULUMI_BACKEND_URL as ours
FILLED_IN = (b"service", b"channel_binding", b"sslcertmode", b"sslcompression", b"gssencmode", b"gssdelegation")
CONNECTION_KEYS = ("host", "port", "database", "user", "password", "service")


@dataclass(frozen=True)
class Workspace:
    """What belongs to one server, under ``folder``. ``server`` is None where it is not our own."""

    folder: Path
    server: Server | None

    @classmethod
    def of(cls, options: Options) -> Workspace:
        """The workspace of the server that the make variables name."""
        if options.own_server:
            folder = LOCAL / str(options.major)
            return cls(folder, Server(folder, options.major))
        found = resolve({})
        place = "|".join(found.get(name, "") for name in ("host", "port", "dbname"))
        return cls(LOCAL / f"env-{hashlib.sha256(place.encode()).hexdigest()[:8]}", None)

    @property
    def config_file(self) -> Path:
        """The copy of the stack's file that the engine may write to."""
        return self.folder / f"Pulumi.{STACK}.yaml"

    def declared_owner(self) -> str | None:
        """Return the owner role that the stack's configuration names."""
        roles = _parse(files.read(self.config_file))["config"].get(f"{PROJECT}:roles")
        owner = (_yaml(roles) if isinstance(roles, str) else roles or {}).get("owner")
        return owner.get("existing") if isinstance(owner, dict) else owner

    def prepare(self) -> None:
        """Make what Pulumi needs, where it is missing."""
        (self.folder / "state").mkdir(mode=0o700, parents=True, exist_ok=True)
        files.secret(self.folder / "passphrase")
        files.write(self.folder / "Pulumi.yaml", (ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
        self._copy_config()

    def environment(self) -> dict[str, str]:
        """The whole environment for a command of ours: the caller's, with this workspace's in its place."""
        strays = self.strays()
        kept = {name: value for name, value in os.environ.items() if name not in strays}
        return {**kept, **self.settings(), "PULUMI_SKIP_UPDATE_CHECK": "true"}

    def enter(self) -> None:
        """Take on this environment in this process, too, so that nothing of the caller's leads it elsewhere."""
        environment = self.environment()
        os.environ.clear()
        os.environ.update(environment)

    def settings(self) -> dict[str, str]:
        """How to reach the server, and where Pulumi keeps its state and finds its configuration."""
        found = {**self._libpq(), "PULUMI_OPTION_CONFIG_FILE": str(self.config_file), "PULUMI_STACK": STACK}
        if self._own_backend:
            found["PULUMI_BACKEND_URL"] = found[BACKEND] = (self.folder / "state").as_uri()
            found["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(self.folder / "passphrase")
        return found

    def strays(self) -> set[str]:
        """The caller's variables that would lead elsewhere."""
        found = set()
        if self.server or "PGSERVICE" in os.environ:
            found = {name for name in os.environ if name.startswith("PG") and not name.startswith(OURS)}
        if self._own_backend:
            found.add("PULUMI_CONFIG_PASSPHRASE")  # the engine prefers it to the file
        return found

    def printable(self) -> dict[str, str]:
        """The settings for a shell: files, never secrets.

        Raises InputError where the server has not been made yet, or a service file holds the password.
        """
        found = self.settings()
        if found.get("PGPORT") == "":
            raise InputError("this folder has no server yet", "Run: make up")
        if "PGPASSWORD" in found:
            raise InputError(
                "the service file holds the password, which is not printed",
                "Move it to the password file: PGPASSFILE, or ~/.pgpass",
            )
        return found

    @property
    def backend(self) -> Path | None:
        """The folder of Pulumi's state; None where it is not our own."""
        return self.folder / "state" if self._own_backend else None

    @property
    def _own_backend(self) -> bool:
        """Unless the caller has one; what `make env` of some folder printed is not the caller's."""
        url = os.environ.get("PULUMI_BACKEND_URL")
        return "PULUMI_ACCESS_TOKEN" not in os.environ and url in (None, os.environ.get(BACKEND))

    def _libpq(self) -> dict[str, str]:
        """The PG* variables to set. A service is written out: the provider cannot follow one beside a host."""
        if self.server:
            found = self.server.environment
            return {**found, OWN_SERVER: f"{found['PGHOST']}:{found['PGPORT']}"}
        if "PGSERVICE" not in os.environ:
            return {}
        # Not what libpq fills in: the provider's driver ends at some of those variables, whatever they say.
        said = {
            option.keyword.decode(): option.envvar.decode()
            for option in pq.Conninfo.get_defaults()
            if option.envvar and option.keyword not in FILLED_IN
        }
        return {said[key]: value for key, value in resolve({}).items() if key in said}

    def _copy_config(self) -> None:
        """Bring the repository's stack file into our copy, and keep what was set in the copy since."""
        original = (ROOT / self.config_file.name).read_text(encoding="utf-8")
        last, copy = files.read(self.folder / "original.yaml"), files.read(self.config_file)
        merged = _merge(_parse(last), _parse(original), _parse(copy)) if copy else _parse(original)
        self._refuse_connection(merged)
        if copy and original == last:
            return
        files.write(self.config_file, yaml.safe_dump(merged, sort_keys=False))
        files.write(self.folder / "original.yaml", original)

    def _refuse_connection(self, stack: Mapping[str, Any]) -> None:
        """The own server is the one that is named and started; the program must not be led to another."""
        keys = [key for key in CONNECTION_KEYS if f"{PROJECT}:{key}" in stack["config"]]
        if self.server and keys:
            raise InputError(
                f"the stack {STACK} names a server ({', '.join(keys)}), and make uses one of its own",
                f"Use DATABASE=env, or run: pulumi config rm {keys[0]}",
            )


def _yaml(text: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"Pulumi.{STACK}.yaml is not YAML: {' '.join(str(error).split())}", "Mend it.") from error
    return data if isinstance(data, dict) else {}


def _parse(text: str | None) -> dict[str, Any]:
    stack = _yaml(text or "")
    config = stack.get("config") or {}
    if not isinstance(config, dict):
        raise InputError(f"the config of Pulumi.{STACK}.yaml is not a map: {config!r}", "Mend it.")
    return {**stack, "config": config}


def _merge(last: Mapping[str, Any], original: Mapping[str, Any], copy: Mapping[str, Any]) -> dict[str, Any]:
    """The new original, with every key of the copy that differs from the original it was made from."""
    own = {key: value for key, value in copy["config"].items() if last["config"].get(key, ...) != value}
    rest = {key: value for key, value in copy.items() if key != "config"}
    return {**original, **rest, "config": {**original["config"], **own}}
