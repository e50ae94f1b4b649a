"""The Pulumi CLI: on PATH, or under ``.local/``, where the SDK installs it if it is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError

from local.workspace import LOCAL, ROOT
from pgvector_seed.common.errors import Error

FOLDER = LOCAL / "pulumi"
PLUGIN = "postgresql"
# The words of curl, of Pulumi's CLI and of a proxy that lets nothing pass.
NO_NETWORK = re.compile("dial tcp|[Cc]ould ?n[o']t resolve|[Ff]ailed to connect|Tunnel connection failed")


class UnavailableError(Error):
    """The CLI or the provider's plugin is missing and cannot be installed."""


@dataclass(frozen=True)
class Pulumi:
    """An installed CLI, the environment that it runs in, with its folder on PATH, and the program's folder."""

    executable: str
    environment: Mapping[str, str] = field(repr=False)
    program: Path = ROOT

    def ask(self, *words: str, text: str = "") -> str:
        """Run the CLI with ``text`` on its standard input, and return its output. Raises Error with its last line."""
        process = subprocess.run(
            [self.executable, *words, "--non-interactive"],
            cwd=self.program,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode != 0:
            lines = [line for line in process.stderr.splitlines() if line.strip()] or ["no error message"]
            raise Error(f"pulumi {' '.join(words)}: {lines[-1].removeprefix('error: ')}")
        return process.stdout


def find(environment: Mapping[str, str], program: Path = ROOT) -> Pulumi:
    """Return the CLI for the program in a folder, having installed it and the PostgreSQL plugin if they were missing.

    Raises UnavailableError, with the reason, if one cannot be installed.
    """
    executable = installed() or _install()
    path = on_path(Path(executable).parent, environment.get("PATH", os.defpath))
    # The provider's driver fails if PGREQUIREAUTH is set; for our own connections a service file can set it.
    variables = {name: value for name, value in environment.items() if name != "PGREQUIREAUTH"}
    pulumi = Pulumi(executable, {**variables, "PATH": path}, program)
    _ensure_plugin(pulumi)
    return pulumi


def installed() -> str | None:
    """Return the path of the CLI on PATH, or of the one under ``.local/``, or None."""
    ours = FOLDER / "bin" / "pulumi"
    return shutil.which("pulumi") or (str(ours) if ours.exists() else None)


def on_path(folder: Path, path: str) -> str:
    """Return the value of PATH with this folder first."""
    return path if path.split(os.pathsep)[0] == str(folder) else f"{folder}{os.pathsep}{path}"


def _install() -> str:
    from pulumi.automation import PulumiCommand  # the import takes half a second

    try:
        return PulumiCommand.install(root=str(FOLDER)).command
    except Exception as error:  # the SDK documents no error; it downloads and runs a shell script
        raise UnavailableError(f"the CLI cannot be installed: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return in words why a download failed."""
    reason = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    if isinstance(reason, subprocess.CalledProcessError):
        reason = bytes(reason.output or b"").decode(errors="replace").strip()[-200:] or reason
    is_network = isinstance(reason, OSError) and not isinstance(reason, (SSLError, HTTPError))
    if "failed to download" in str(reason):
        return "its download failed"
    return "no network" if is_network or NO_NETWORK.search(str(reason)) else " ".join(str(reason).split())


def _ensure_plugin(pulumi: Pulumi) -> None:
    pinned = version("pulumi-postgresql")
    plugins = json.loads(pulumi.ask("plugin", "ls", "--json"))
    listed = any(plugin["name"] == PLUGIN and plugin.get("version") == pinned for plugin in plugins)
    if listed or shutil.which(f"pulumi-resource-{PLUGIN}", path=pulumi.environment["PATH"]):
        return
    try:
        pulumi.ask("plugin", "install", "resource", PLUGIN, f"v{pinned}")
    except Error as error:
        raise UnavailableError(f"the CLI's plugin {PLUGIN} cannot be installed: {_reason(error)}") from error
