"""The end of a test that would never end, as a plugin of pytest: it fails, by its name, and the next one begins.

A test's processes are killed first: it may wait for one, and ``with Popen`` waits for it once more on the way out.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType

import psutil
import pytest

SECONDS = 7200 if os.environ.get("SOAK") == "1" else 300  # for each of setup, call and teardown
AGAIN_SECONDS = 5  # what is raised may meet another wait on its way out


@contextmanager
def _limited() -> Iterator[None]:
    signal.signal(signal.SIGALRM, _end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _end(_number: int, _frame: FrameType | None) -> None:
    """Kill every process that this one started, and raise where it waits. A server is no child of this process."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    pytest.fail(f"the test took longer than {SECONDS} s, and was ended")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    """Limit the fixtures."""
    with _limited():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Limit the test itself."""
    with _limited():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Limit the end of the fixtures."""
    with _limited():
        return (yield)
