"""The Pulumi CLI: found on PATH, found under ``.local/``, or installed there by the SDK."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from local.workspace import LOCAL
from pgvector_seed.common.errors import Error

FOLDER = LOCAL / "pulumi"
PLUGIN = "postgresql"


class UnavailableError(Error):
    """The CLI or the provider's plugin cannot be had on this machine."""


@dataclass(frozen=True)
class Pulumi:
    """A CLI that is there, and the environment it runs in, whose PATH leads to it."""

    executable: str
    environment: Mapping[str, str] = field(repr=False)

    def ask(self, *words: str, text: str = "") -> str:
        """Run the CLI with ``text`` on its standard input, and return its output. Raises Error with its last words."""
        asked = subprocess.run(
            [self.executable, *words, "--non-interactive"],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.returncode != 0:
            said = [line for line in asked.stderr.splitlines() if line.strip()] or ["it said nothing"]
            raise Error(f"pulumi {' '.join(words)}: {said[-1].removeprefix('error: ')}")
        return asked.stdout


def find(environment: Mapping[str, str]) -> Pulumi:
    """The CLI with the PostgreSQL plugin. Both are installed where they are missing.

    Raises UnavailableError, with the reason, where they cannot be.
    """
    executable = installed() or _install()
    path = on_path(Path(executable).parent, environment.get("PATH", os.defpath))
    # The provider's driver ends on PGREQUIREAUTH. What it says to our own connections can stand in a service file.
    known = {name: value for name, value in environment.items() if name != "PGREQUIREAUTH"}
    pulumi = Pulumi(executable, {**known, "PATH": path})
    _ensure_plugin(pulumi)
    return pulumi


def installed() -> str | None:
    """The CLI on PATH, or the one installed before, or None."""
    ours = FOLDER / "bin" / "pulumi"
    return shutil.which("pulumi") or (str(ours) if ours.exists() else None)


def on_path(folder: Path, path: str) -> str:
    """PATH with this folder at its head."""
    return path if path.split(os.pathsep)[0] == str(folder) else f"{folder}{os.pathsep}{path}"


def _install() -> str:
    from pulumi.automation import PulumiCommand  # half a second, so only when it is needed

    try:
        return PulumiCommand.install(root=str(FOLDER)).command
    except Exception as error:  # the SDK promises nothing; a download and a shell script are behind it
        raise UnavailableError(f"the CLI cannot be installed ({' '.join(str(error).split())})") from error


def _ensure_plugin(pulumi: Pulumi) -> None:
    wanted = version("pulumi-postgresql")
    plugins = json.loads(pulumi.ask("plugin", "ls", "--json"))
    there = any(plugin["name"] == PLUGIN and plugin.get("version") == wanted for plugin in plugins)
    if there or shutil.which(f"pulumi-resource-{PLUGIN}", path=pulumi.environment["PATH"]):
        return
    try:
        pulumi.ask("plugin", "install", "resource", PLUGIN, f"v{wanted}")
    except Error as error:
        raise UnavailableError(str(error)) from error
