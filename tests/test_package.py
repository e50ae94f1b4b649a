"""``import pgvector_seed`` is light, and loads the Pulumi part only on request."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pgvector_seed
from local.workspace import ROOT
from pgvector_seed.infra import args, database, process, roles

WITHOUT_PULUMI = "import sys; sys.modules['pulumi'] = None\n"


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_component_is_at_the_top() -> None:
    from pgvector_seed import Role, Roles, VectorDatabase, VectorDatabaseArgs, leave_quietly_on_interrupt

    assert (VectorDatabase, VectorDatabaseArgs) == (database.VectorDatabase, args.VectorDatabaseArgs)
    assert (Role, Roles) == (roles.Role, roles.Roles)
    assert leave_quietly_on_interrupt is process.leave_quietly_on_interrupt
    assert set(pgvector_seed.__all__) <= set(dir(pgvector_seed))


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'pgvector_seed' has no attribute 'nonsense'"):
        getattr(pgvector_seed, "nonsense")  # noqa: B009  # a type checker knows that it is missing


def test_the_import_alone_needs_no_pulumi_and_no_driver() -> None:
    assert python("import pgvector_seed, sys; assert not {'pulumi', 'psycopg'} & {*sys.modules}").returncode == 0


def test_no_other_command_imports_numpy() -> None:
    """It takes longer to import than all of the rest, and is an extra."""
    modules = "seed.cli, seed.sample.work, seed.verify.work, seed.migrate.work, seed.load.command"
    program = f"import {modules}, pgvector_seed.data.target, sys; assert not {{'numpy', 'pyarrow'}} & {{*sys.modules}}"
    assert python(program).returncode == 0


def test_without_numpy_load_says_what_to_install() -> None:
    without = "import sys; sys.modules['numpy'] = None; sys.argv = ['x', 'load', 'a.npy']\n"
    done = python(without + "import seed.__main__ as command; command.main()")
    assert (done.returncode, done.stderr.splitlines()) == (
        2,
        ["error: load needs numpy", "  Run: python -m pip install -r requirements-load.txt"],
    )


def test_only_dask_imports_distributed() -> None:
    """A load without --dask starts as fast as without the extra; with --dask, it says how to install the extra."""
    program = "import seed.load.work, pgvector_seed.data.load, sys; assert not {'distributed', 'dask'} & {*sys.modules}"
    assert python(program).returncode == 0
    without = "import sys; sys.modules['distributed'] = None\n"
    done = python(
        f"{without}from pgvector_seed.common.remedies import needing_extra\n"
        "with needing_extra('dask', '--dask'): import pgvector_seed.data.cluster"
    )
    assert done.stderr.splitlines()[-1] == (
        "pgvector_seed.common.errors.InputError: --dask needs distributed. "
        "Run: python -m pip install -r requirements-dask.txt"
    )


def test_without_pulumi_the_component_says_what_to_install() -> None:
    """Regression: in a checkout it named a wheel, which only an installation has come from."""
    done = python(WITHOUT_PULUMI + "from pgvector_seed import VectorDatabase")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: VectorDatabase needs Pulumi: python -m pip install -r requirements.txt"
    )


def test_without_numpy_the_function_says_what_to_install() -> None:
    done = python("import sys; sys.modules['numpy'] = None\nfrom pgvector_seed import load")
    assert done.stderr.splitlines()[-1] == (
        "ImportError: load needs NumPy: python -m pip install -r requirements-load.txt"
    )


def test_an_import_that_fails_for_another_reason_says_so() -> None:
    """A broken installation is not told to install Pulumi."""
    done = python("import sys; sys.modules['psycopg'] = None\nfrom pgvector_seed import VectorDatabase")
    assert "psycopg" in done.stderr.splitlines()[-1]
