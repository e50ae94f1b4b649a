"""Finding Pulumi's CLI, and installing it and the plugin, without a network."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.pulumi_cli import UnavailableError, find

OFFLINE = {"https_proxy": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1"}
# Answers as the CLI does without a network.
CLI = """#!/bin/sh
case "$1 $2" in
  'plugin ls') echo '[]' ;;
  *) echo 'error: [resource plugin postgresql-1] Get "https://x/y": proxyconnect tcp: dial tcp 127.0.0.1:1: refused' >&2
    exit 1 ;;
esac
"""


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use a machine without the CLI and without a network."""
    monkeypatch.setattr("local.pulumi_cli.FOLDER", tmp_path / "pulumi")
    for name, value in {**OFFLINE, "PATH": "/usr/bin:/bin"}.items():
        monkeypatch.setenv(name, value)
    yield
    with warnings.catch_warnings():  # the SDK does not close the file of a download that failed
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_no_network_is_told_in_these_words() -> None:
    """Regression: the line had the text <urlopen error [Errno 111] Connection refused>."""
    with pytest.raises(UnavailableError) as caught:
        find(os.environ)
    assert str(caught.value) == "the CLI cannot be installed: no network"


def test_nor_is_the_plugins_missing_network(tmp_path: Path) -> None:
    cli = tmp_path / "pulumi" / "bin" / "pulumi"
    cli.parent.mkdir(parents=True)
    cli.write_text(CLI)
    cli.chmod(0o755)
    with pytest.raises(UnavailableError) as caught:
        find(os.environ)
    assert str(caught.value) == "the CLI's plugin postgresql cannot be installed: no network"
