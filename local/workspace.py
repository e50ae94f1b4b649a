"""The folder under ``.local/`` of one server: Pulumi's files, and the variables that lead to the server."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from psycopg import pq

from local import stack_file
from local.options import Options
from local.server import Server
from local.stack_file import PROJECT
from pgvector_seed.common import files
from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.auth import OWN_SERVER
from pgvector_seed.postgres.conninfo import resolve

ROOT = Path(__file__).parent.parent
LOCAL = ROOT / ".local"
STACK = "dev"
OURS = "PGVECTOR_SEED_"  # none of libpq's
BACKEND = f"{OURS}BACKEND"  # marks a PULUMI_BACKEND_URL as ours
FILLED_IN = (b"service", b"channel_binding", b"sslcertmode", b"sslcompression", b"gssencmode", b"gssdelegation")
CONNECTION_KEYS = ("host", "port", "database", "user", "password", "service")


@dataclass(frozen=True)
class Workspace:
    """The files of one server and program, under ``folder``. ``server`` is None if it is not our own.

    ``example`` is the name of a program under examples/, which has a database of the same name. None is the project's
    own program.
    """

    folder: Path
    server: Server | None
    example: str | None = None

    @classmethod
    def of(cls, options: Options, example: str | None = None) -> Workspace:
        """Return the workspace of the server that the make variables name."""
        if options.own_server:
            folder = LOCAL / str(options.major)
            return cls(folder / (example or ""), Server(folder, options.major), example)
        connection = resolve({})
        address = "|".join(connection.get(name, "") for name in ("host", "port", "dbname"))
        folder = LOCAL / f"env-{hashlib.sha256(address.encode()).hexdigest()[:8]}"
        return cls(folder / (example or ""), None, example)

    @property
    def program(self) -> Path:
        """The folder of the Pulumi program, in which the engine runs."""
        return ROOT / "examples" / self.example if self.example else ROOT

    @property
    def config_file(self) -> Path:
        """The copy of the stack's file that the engine may write to."""
        return self.folder / f"Pulumi.{STACK}.yaml"

    def declared_owner(self) -> str | None:
        """Return the owner role that the stack's configuration names, or None."""
        roles = stack_file.load(self.config_file)["config"].get(f"{PROJECT}:roles")
        try:
            roles = yaml.safe_load(roles) if isinstance(roles, str) else roles
        except yaml.YAMLError:
            return None  # the program names the fault
        owner = roles.get("owner") if isinstance(roles, dict) else None
        owner = owner.get("existing") if isinstance(owner, dict) else owner
        return owner if isinstance(owner, str) else None

    def prepare(self) -> None:
        """Create the files that Pulumi needs, if they are missing. Raises InputError first for a bad stack file."""
        original = stack_file.load(self.program / self.config_file.name)
        self._refuse_connection(original)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.folder / "state").mkdir(mode=0o700, exist_ok=True)
        files.secret(self.folder / "passphrase")
        files.write(self.folder / "Pulumi.yaml", (self.program / "Pulumi.yaml").read_text(encoding="utf-8"))
        self._copy_config(original)

    def is_prepared(self) -> bool:
        """Return True if ``prepare`` has nothing to write. Raises InputError as ``prepare`` does."""
        original, copy = stack_file.load(self.program / self.config_file.name), stack_file.load(self.config_file)
        for stack in (original, copy):
            self._refuse_connection(stack)
        pulumi_files = {files.read(folder / "Pulumi.yaml") for folder in (self.program, self.folder)}
        copied = self._last_original.exists() and self.config_file.exists()
        return copied and stack_file.load(self._last_original) == original and len(pulumi_files) == 1

    def set_in_copy(self) -> list[str]:
        """Return the keys that were set in the copy of the stack's file, or removed there as "no KEY"."""
        last, copy = stack_file.load(self._last_original), stack_file.load(self.config_file)
        removed = [f"no {key}" for key in last["config"].keys() - copy["config"].keys()]
        return sorted(key.replace(f"{PROJECT}:", "") for key in [*stack_file.changed(last, copy), *removed])

    def environment(self) -> dict[str, str]:
        """Return the environment of our commands: the caller's without its strays, and the workspace's settings."""
        strays = self.strays()
        callers = {name: value for name, value in os.environ.items() if name not in strays}
        return {**callers, **self.settings(), "PULUMI_SKIP_UPDATE_CHECK": "true"}

    def enter(self) -> None:
        """Replace this process's environment by the workspace's, so that it connects to the same server."""
        environment = self.environment()
        os.environ.clear()
        os.environ.update(environment)

    def settings(self) -> dict[str, str]:
        """Return the variables for libpq, and for Pulumi's state and configuration."""
        settings = {**self._libpq(), "PULUMI_OPTION_CONFIG_FILE": str(self.config_file), "PULUMI_STACK": STACK}
        if self.example:
            settings |= {"PGDATABASE": self.example, "PYTHONPATH": str(ROOT)}  # the program imports pgvector_seed
        if self._own_backend:
            settings["PULUMI_BACKEND_URL"] = settings[BACKEND] = (self.folder / "state").as_uri()
            settings["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(self.folder / "passphrase")
        return settings

    def strays(self) -> set[str]:
        """Return the names of the caller's variables that would lead to another server or state."""
        names = set()
        if self.server or "PGSERVICE" in os.environ:
            names = {name for name in os.environ if name.startswith("PG") and not name.startswith(OURS)}
        if self._own_backend:
            names.add("PULUMI_CONFIG_PASSPHRASE")  # the engine prefers it to the file
        return names

    def printable(self) -> dict[str, str]:
        """Return the settings for a shell, which hold no secret.

        Raises InputError if the server was never started, or a service file holds the password.
        """
        settings = self.settings()
        if settings.get("PGPORT") == "":
            raise InputError("this folder has no server yet", "Run: make up")
        if "PGPASSWORD" in settings:
            raise InputError(
                "the service file holds the password, which is not printed",
                "Move it to the password file: PGPASSFILE, or ~/.pgpass",
            )
        return settings

    @property
    def backend(self) -> Path | None:
        """The folder of Pulumi's state, or None if it is not our own."""
        return self.folder / "state" if self._own_backend else None

    @property
    def _own_backend(self) -> bool:
        """True unless the caller has a backend; the one that `make env` printed is ours."""
        url = os.environ.get("PULUMI_BACKEND_URL")
        return "PULUMI_ACCESS_TOKEN" not in os.environ and url in (None, os.environ.get(BACKEND))

    def _libpq(self) -> dict[str, str]:
        """Return the PG* variables to set. A service is resolved, because the provider cannot use one beside a host."""
        if self.server:
            variables = self.server.environment
            return {**variables, OWN_SERVER: f"{variables['PGHOST']}:{variables['PGPORT']}"}
        if "PGSERVICE" not in os.environ:
            return {}
        # Without those that libpq fills in: the provider's driver fails if some of them are set, whatever their value.
        variables = {
            option.keyword.decode(): option.envvar.decode()
            for option in pq.Conninfo.get_defaults()
            if option.envvar and option.keyword not in FILLED_IN
        }
        return {variables[key]: value for key, value in resolve({}).items() if key in variables}

    def _copy_config(self, original: stack_file.Stack) -> None:
        """Merge the repository's stack file into our copy, and keep the keys that were set in the copy."""
        last, copy = stack_file.load(self._last_original), stack_file.load(self.config_file)
        is_copied = bool(files.read(self.config_file))
        merged = stack_file.merge(last, original, copy) if is_copied else original
        self._refuse_connection(merged)
        if is_copied and original == last:
            return
        files.write(self.config_file, yaml.safe_dump(merged, sort_keys=False))
        files.write(self._last_original, yaml.safe_dump(original, sort_keys=False))

    @property
    def _last_original(self) -> Path:
        """The repository's stack file as it was last copied."""
        return self.folder / "original.yaml"

    def _refuse_connection(self, stack: Mapping[str, Any]) -> None:
        """Raise InputError if the stack's configuration names a server although our own is used."""
        keys = [key for key in CONNECTION_KEYS if f"{PROJECT}:{key}" in stack["config"]]
        if self.server and keys:
            raise InputError(
                f"the stack {STACK} names a server ({', '.join(keys)}), and make uses one of its own",
                f"Use DATABASE=env, or run: pulumi config rm {keys[0]}",
            )
