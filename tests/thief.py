"""A program on a server's port that asks each client for its password in clear, and records the answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread

from local.server import HOST
from tests.proxies import GSS_REQUEST, TLS_REQUEST, pack, read_message

IN_CLEAR = pack(b"R", b"\0\0\0\3")


@dataclass
class Thief:
    """The record of such a program. ``asked`` is the number of clients that were asked for a password."""

    port: int
    heard: list[bytes] = field(default_factory=list)
    asked: int = 0
    over: bool = False


@contextmanager
def thief(port: int = 0, host: str = HOST) -> Iterator[Thief]:
    """Yield the record of a thief that listens on this port, or on a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as listener:
        record = Thief(listener.getsockname()[1])
        thread = Thread(target=_serve, args=(listener, record))
        thread.start()
        try:
            yield record
        finally:
            record.over = True
            socket.create_connection((host, record.port)).close()
            thread.join()


def _serve(listener: socket.socket, record: Thief) -> None:
    while not record.over:
        with listener.accept()[0] as client, suppress(OSError, EOFError):
            client.settimeout(10)
            while read_message(client, kind_bytes=0)[4:8] in (TLS_REQUEST, GSS_REQUEST):
                client.sendall(b"N")
            record.asked += 1
            client.sendall(IN_CLEAR)
            record.heard.append(read_message(client))
