"""A pytest plugin with a time limit for each test: a test that hangs fails by name, and the next begins.

The processes of the test are killed first: the test may wait for one of them, and ``with Popen`` waits again on the
way out.
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
AGAIN_SECONDS = 5  # the raised failure may meet another wait on its way out


@contextmanager
def _limited() -> Iterator[None]:
    signal.signal(signal.SIGALRM, _end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, AGAIN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _end(_number: int, _frame: FrameType | None) -> None:
    """Kill all child processes and fail the test where it waits. A server is no child of this process."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    pytest.fail(f"the test took longer than {SECONDS} s, and was ended")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    """Limit the time of the fixtures' setup."""
    with _limited():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Limit the time of the test itself."""
    with _limited():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Limit the time of the fixtures' teardown."""
    with _limited():
        return (yield)
