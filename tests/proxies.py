"""Proxies between a client and its server: a connection that falls silent, a transaction pooler.

Each proxy listens on a free port of 127.0.0.1 if no other address is given. It reads the messages of PostgreSQL's
protocol 3: a kind of one byte, a length of four that counts itself, and a body. A connection's first message has no
kind.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, suppress
from threading import Event, Thread

from local.server import HOST, Server

TLS_REQUEST, GSS_REQUEST = struct.pack("!I", 80877103), struct.pack("!I", 80877104)
READY_AND_IDLE = b"Z\0\0\0\x05I"
LISTEN = re.compile(rb"\s*listen\b", re.IGNORECASE)
MADE_UP_KEY = struct.pack("!II", 0x7FFFFFFF, 1)  # no process of a server has this id
NO_CERTIFICATE = b"connection requires a valid client certificate"
NO_PREPARED, NO_LISTEN = b"prepared statements are not supported", b"LISTEN is not supported"


def frozen(server: Server) -> AbstractContextManager[Frozen]:
    """Return a proxy that can stop forwarding, as a server that stops answering."""
    return closing(Frozen(server))


def renaming(server: Server) -> AbstractContextManager[Proxy]:
    """Return a proxy that gives each client its own cancel key, as a pooler does, and keeps its session."""
    return closing(Proxy(server, RenamingLink))


def pooler(server: Server) -> AbstractContextManager[Proxy]:
    """Return a transaction pooler: no state of a client's session outlives its transaction.

    As in PgBouncer, each client gets a cancel key with a made-up process id.
    """
    return closing(Proxy(server, PooledLink))


class Link:
    """A client's connection, and the proxy's connection to the server for it.

    A single thread serves both directions: an SSLSocket must not be read and written at once. The server's
    messages go first, so that client and server do not both wait with full buffers.
    """

    def __init__(self, client: socket.socket, backend: socket.socket, context: ssl.SSLContext | None = None) -> None:
        self.client, self.backend, self.context = client, backend, context
        self._received = bytearray()  # of the server, and not forwarded
        for side in (client, backend):  # else a message may wait 40 ms for the last one's acknowledgement
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ends = (client.dup(), backend.dup())  # TLS takes the client's socket over; this can still end it

    def run(self) -> None:
        """Forward until one side hangs up, then hang up on the other, unless the link is halted."""
        with suppress(OSError, EOFError):
            self._forward()
        if not self.is_halted():
            self.end()
            self.close()

    def end(self) -> None:
        """Hang up on both sides."""
        for side in self._ends:
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the sockets: select takes no descriptor above 1023."""
        for side in (self.client, self.backend, *self._ends):
            side.close()

    def is_halted(self) -> bool:
        """Return True if nothing more is to be forwarded."""
        return False

    def hears_client(self) -> bool:
        """Return True if the client's next message may be read."""
        return True

    def from_client(self, message: bytes) -> None:
        """Forward a client's message."""
        self.backend.sendall(message)

    def from_server(self, message: bytes) -> None:
        """Forward a server's message."""
        self.client.sendall(message)

    def _forward(self) -> None:
        if not self.is_halted():
            self.from_client(self._startup())
        while not self.is_halted():
            if self._next() is self.backend:
                self._receive()
                while not self.is_halted() and (message := self._take()):
                    self.from_server(message)
            else:
                self.from_client(read_message(self.client))

    def read_server(self) -> bytes:
        """Read one complete message of the server. Raises EOFError if it hung up."""
        while not (message := self._take()):
            self._receive()
        return message

    def _receive(self) -> None:
        """Read what the server has sent: in a pipeline, the rest of a message may come after the client's next one."""
        part = self.backend.recv(1 << 16)
        if not part:
            raise EOFError
        self._received += part

    def _take(self) -> bytes:
        """Take a complete message of those received, or return b""."""
        end = 1 + int.from_bytes(self._received[1:5], "big")
        if len(self._received) < max(end, 5):
            return b""
        message = bytes(self._received[:end])
        del self._received[:end]
        return message

    def _startup(self) -> bytes:
        """Return the message after the requests for encryption. Raises EOFError if a certificate is missing."""
        while (message := read_message(self.client, kind_bytes=0))[4:8] in (TLS_REQUEST, GSS_REQUEST):
            if self.context and message[4:8] == TLS_REQUEST:
                self.client.sendall(b"S")
                self.client = self.context.wrap_socket(self.client, server_side=True)
            else:
                self.client.sendall(b"N")
        if self._is_certificate_missing():
            self.client.sendall(pack(b"E", b"SFATAL\0VFATAL\0C28000\0M%b\0\0" % NO_CERTIFICATE))
            raise EOFError
        return message

    def _is_certificate_missing(self) -> bool:
        asks = self.context is not None and self.context.verify_mode == ssl.CERT_OPTIONAL
        return asks and isinstance(self.client, ssl.SSLSocket) and not self.client.getpeercert()

    def _next(self) -> socket.socket:
        """Wait for a side with a message to read, and return it: the server's if both have one."""
        sides = [self.backend, self.client] if self.hears_client() else [self.backend]
        decrypted = isinstance(self.client, ssl.SSLSocket) and self.client.pending() > 0
        ready = select.select(sides, [], [], 0 if decrypted else None)[0]
        return self.backend if self.backend in ready else self.client


class Proxy:
    """Accepts clients on ``port`` and serves each of them in a thread."""

    def __init__(
        self,
        server: Server,
        link: Callable[[socket.socket, socket.socket], Link] = Link,
        host: str = HOST,
        port: int = 0,
    ) -> None:
        self._target = (HOST, int(server.environment["PGPORT"]))
        self._link = link
        self._served: list[tuple[Link, Thread]] = []
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self._accepting = Thread(target=self._accept)
        self._accepting.start()

    def close(self) -> None:
        """Hang up on all clients and stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        for link, thread in self._served:
            link.end()
            thread.join()
            link.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                self._serve(self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        try:
            backend = socket.create_connection(self._target)
        except OSError:  # the server is down: the client may try again
            client.close()
            return
        link = self._link(client, backend)
        thread = Thread(target=link.run)
        self._served.append((link, thread))
        thread.start()


class Frozen(Proxy):
    """A proxy that forwards until it is frozen. Later clients are accepted, and get no answer."""

    def __init__(self, server: Server) -> None:
        self.frozen = Event()
        self.text: bytes | None = None
        super().__init__(server, lambda client, backend: FrozenLink(self, client, backend))

    def freeze(self) -> None:
        """Stop forwarding."""
        self.frozen.set()

    def freeze_at(self, text: str) -> None:
        """Stop forwarding at a client's message that contains this text; the server does not get the message."""
        self.text = text.encode()


class FrozenLink(Link):
    """A link that falls silent with both sockets open, even if one side hangs up."""

    def __init__(self, proxy: Frozen, client: socket.socket, backend: socket.socket) -> None:
        self.proxy = proxy
        super().__init__(client, backend)

    def is_halted(self) -> bool:
        return self.proxy.frozen.is_set()

    def from_client(self, message: bytes) -> None:
        if self.proxy.text is not None and self.proxy.text in message:
            self.proxy.freeze()
        if not self.is_halted():
            super().from_client(message)

    def from_server(self, message: bytes) -> None:
        if not self.is_halted():
            super().from_server(message)


class RenamingLink(Link):
    """A link whose client gets a made-up cancel key."""

    def from_server(self, message: bytes) -> None:
        super().from_server(pack(b"K", MADE_UP_KEY) if message[:1] == b"K" else message)


class PooledLink(RenamingLink):
    """A link whose session is reset after each transaction, as if the next one ran on another server connection.

    A refused statement is replaced by one that no server can parse. So the server itself fails, skips messages up
    to the Sync and reports the transaction's status; only the text of its error is replaced.
    """

    def __init__(self, client: socket.socket, backend: socket.socket) -> None:
        self.awaited = b""  # the kind of message whose ReadyForQuery has not come yet
        self.copying = False
        super().__init__(client, backend)

    def hears_client(self) -> bool:
        """Return False while the server works: its reset at the end of a transaction precedes the next message."""
        return self.copying or not self.awaited

    def from_client(self, message: bytes) -> None:
        kind = message[:1]
        if kind in (b"Q", b"S", b"F") and not self.copying:  # during COPY the server skips a Sync
            self.awaited = kind
        if kind in (b"c", b"f"):
            self.copying = False
        super().from_client(without_refused(message))

    def from_server(self, message: bytes) -> None:
        kind = message[:1]
        if kind in (b"G", b"E"):
            self.copying = kind == b"G"
        if kind == b"Z" or (kind == b"G" and self.awaited == b"S"):  # the server skips the Sync that it was sent
            self.awaited = b""
        if message == READY_AND_IDLE:
            self._reset()
        super().from_server(in_poolers_words(message))

    def _reset(self) -> None:
        """Discard the session's state before the client learns that its transaction is over."""
        self.backend.sendall(pack(b"Q", b"DISCARD ALL\0"))
        while (answer := self.read_server())[:1] != b"Z":
            if answer[:1] != b"C":  # a changed parameter is the client's to know
                super().from_server(answer)


def without_refused(message: bytes) -> bytes:
    """Return the client's message, or one that fails in its place if the message asks for a refused feature."""
    kind, body = message[:1], message[5:]
    name, text = body.split(b"\0", 1) if kind == b"P" else (b"", body)
    if name:
        return pack(b"P", b'\0"%b"\0\0\0' % NO_PREPARED)
    if kind in (b"P", b"Q") and LISTEN.match(text):
        return pack(kind, b'\0"%b"\0\0\0' % NO_LISTEN if kind == b"P" else b'"%b"\0' % NO_LISTEN)
    return message


def in_poolers_words(message: bytes) -> bytes:
    """Return the server's message, or the pooler's feature_not_supported for the error of a refused statement."""
    for words in (NO_PREPARED, NO_LISTEN):
        if message[:1] == b"E" and b'"%b"' % words in message:
            return pack(b"E", b"SERROR\0VERROR\0C0A000\0M%b\0\0" % words)
    return message


def pack(kind: bytes, body: bytes) -> bytes:
    """Return a message of the protocol."""
    return kind + struct.pack("!I", len(body) + 4) + body


def read_message(source: socket.socket, kind_bytes: int = 1) -> bytes:
    """Read one complete message. Raises EOFError if the other side hung up."""
    head = read_exactly(source, kind_bytes + 4)
    return head + read_exactly(source, int.from_bytes(head[-4:], "big") - 4)


def read_exactly(source: socket.socket, size: int) -> bytes:
    """Read ``size`` bytes. Raises EOFError if the stream ends before."""
    read = bytearray()
    while len(read) < size:
        part = source.recv(min(size - len(read), 1 << 16))
        if not part:
            raise EOFError
        read += part
    return bytes(read)
