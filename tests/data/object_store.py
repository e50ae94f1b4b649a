"""An S3 store for the tests: moto's server as a process, and a proxy that fails in the middle."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from local.server import HOST
from tests.conftest import Process, until

BUCKET = "vectors"
SECRET = "key/that+nobody=may=see"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REGION": "us-east-1",
}


@contextmanager
def store(**settings: str) -> Iterator[str]:
    """Yield the address of a store. It has the empty BUCKET, unless ``settings`` make it refuse requests."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    words = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    environment = {**os.environ, **settings}
    with Process(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: is_open(port))
            if not settings:
                put(f"http://{HOST}:{port}/{BUCKET}", b"")
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port)):
        return True
    return False


def put(address: str, data: bytes) -> None:
    """Write an object, or create a bucket."""
    request = Request(address, data, {"Content-Type": "application/octet-stream"}, method="PUT")  # noqa: S310  # http
    with urlopen(request, timeout=60):  # noqa: S310
        pass


def upload(address: str, file: str, key: str = "") -> str:
    """Copy a file into the bucket, and return its s3:// address. The key is new if none is given.

    A request without a login, as here, may not write a key twice.
    """
    key = key or f"{secrets.token_hex(4)}/{Path(file).name}"
    put(f"{address}/{BUCKET}/{key}", Path(file).read_bytes())
    return f"s3://{BUCKET}/{key}"


class FailingStore:
    """A proxy to a store. After ``limit`` bytes it closes its connections, and every later one at once."""

    def __init__(self, address: str, limit: int) -> None:
        self.left = limit
        self._target = (HOST, urlsplit(address).port)
        self._listener = socket.create_server((HOST, 0))
        self.address = f"http://{HOST}:{self._listener.getsockname()[1]}"
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                client = self._listener.accept()[0]
                if self.left <= 0:
                    client.close()
                    continue
                backend = socket.create_connection(self._target)
                Thread(target=self._forward, args=(client, backend), daemon=True).start()
                Thread(target=self._answer, args=(backend, client), daemon=True).start()

    def _forward(self, client: socket.socket, backend: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                backend.sendall(data)
            backend.shutdown(socket.SHUT_WR)

    def _answer(self, backend: socket.socket, client: socket.socket) -> None:
        with backend, client, suppress(OSError):
            while self.left > 0 and (data := backend.recv(1 << 16)):
                client.sendall(data[: self.left])
                self.left -= len(data)
            client.shutdown(socket.SHUT_RDWR)
