"""Running synchronous code on an asynchronous connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection

from pgvector_seed.postgres.connection import Connection

A = TypeVar("A")
T = TypeVar("T")


async def in_thread(connection: AsyncConnection[Any], work: Callable[[Connection, A], T], argument: A) -> T:
    """Return ``work(session, argument)`` of a thread, where ``session`` is a synchronous view of the connection.

    Nothing else can use the connection meanwhile, also if the caller is cancelled: it then waits for the thread.
    """
    async with connection.lock:
        task = asyncio.ensure_future(asyncio.to_thread(_on_view, connection, work, argument))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise


def _on_view(connection: AsyncConnection[Any], work: Callable[[Connection, A], T], argument: A) -> T:
    """Call ``work`` with a connection object that shares libpq's connection, and then forget that object."""
    libpq = connection.pgconn
    handlers = libpq.notice_handler, libpq.notify_handler
    view: Connection = psycopg.Connection(libpq)
    try:
        with view.transaction():
            return work(view, argument)
    finally:
        libpq.notice_handler, libpq.notify_handler = handlers
        del view.pgconn  # the connection is open, and psycopg would warn
