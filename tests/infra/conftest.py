"""What the tests of the program need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pulumi.runtime.settings import reset_options


@pytest.fixture(autouse=True)
def no_engine_of_another_test() -> Iterator[None]:
    """Leave the SDK without the monitor and the engine that stood in: what it logs goes to them, and not to stderr."""
    yield
    reset_options()
