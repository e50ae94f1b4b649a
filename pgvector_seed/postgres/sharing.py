"""Running this project's code on a connection of the caller, whatever its row factory and its kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection, BaseConnection, pq

from pgvector_seed.common.errors import InputError
from pgvector_seed.postgres.connection import Connection

A = TypeVar("A")
T = TypeVar("T")


async def in_thread(connection: AsyncConnection[Any], work: Callable[[Connection, A], T], argument: A) -> T:
    """Return what ``on_view`` does, in a thread. Nothing else can use the connection meanwhile.

    If the caller is cancelled, it waits for the thread to end.
    """
    async with connection.lock:
        task = asyncio.ensure_future(asyncio.to_thread(on_view, connection, work, argument))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise


def on_view(connection: BaseConnection[Any], work: Callable[[Connection, A], T], argument: A) -> T:
    """Return ``work(view, argument)``. ``view`` is a new object on the libpq connection, with psycopg's defaults.

    ``view`` prepares no statements: their names would be those of ``connection``. Raises InputError in pipeline mode.
    """
    libpq = connection.pgconn
    if libpq.pipeline_status != pq.PipelineStatus.OFF:
        raise InputError("the connection is in pipeline mode", "Call it before the pipeline, or on another connection.")
    handlers = libpq.notice_handler, libpq.notify_handler
    view: Connection = psycopg.Connection(libpq)
    view.prepare_threshold = None
    try:
        with view.transaction():
            return work(view, argument)
    finally:
        libpq.notice_handler, libpq.notify_handler = handlers
        del view.pgconn  # the connection is open, and psycopg would warn
