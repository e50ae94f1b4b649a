"""Connect to a Dask scheduler, or start a cluster of processes on this machine. Dask prints nothing."""

from __future__ import annotations

import asyncio
import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from tempfile import TemporaryDirectory
from typing import Any

import cryptography  # noqa: F401  # for the TLS of the local cluster; here, so that its absence is known early
import dask
from distributed import Client, LocalCluster, Security

from pgvector_seed.common.errors import InputError, WrongResultError
from pgvector_seed.data.session import AGAIN
from pgvector_seed.data.summary import LOCAL

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = _CONNECT_SECONDS + 1  # so that what refuses the connection is told as such
_CLOSE_SECONDS = 5
_HOST = "127.0.0.1"
_NO_PAGES: dict[str, list[object]] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}


@contextmanager
def connected(address: str, jobs: int) -> Iterator[Client]:
    """Yield a client of the scheduler at this address. For LOCAL, start one with ``jobs`` worker processes.

    The processes end with the block. Raises InputError if no scheduler answers or it has no workers, and
    WrongResultError if it is lost in the block.
    """
    _silence()
    if address == LOCAL:
        with _local_cluster(jobs) as cluster, _client(cluster.scheduler_address, cluster.security) as client:
            yield client
    else:
        with _client(address) as client:
            yield client


class _Client(Client):
    async def _start(self, timeout: Any = _CONNECT_SECONDS, **settings: Any) -> Any:
        """Connect. Raises TimeoutError, too, if the address takes the connection and never speaks."""
        start = super()._start(timeout, **settings)  # type: ignore[no-untyped-call]
        return await asyncio.wait_for(start, _ANSWER_SECONDS)

    def __del__(self) -> None:
        """Do nothing: a client that could not connect would wait for seconds at exit, and print a traceback."""


@contextmanager
def _client(address: str, security: Security | None = None) -> Iterator[Client]:
    try:
        client = _Client(address, timeout=_CONNECT_SECONDS, set_as_default=False, security=security)
    except Exception as error:  # also a fault of Dask's configuration, such as TLS without a certificate
        reason = " ".join(str(error).split()) or f"it did not speak for {_ANSWER_SECONDS} s"
        raise InputError(
            f"no Dask scheduler answers at {address}: {reason}", "Check --dask tcp://HOST:PORT."
        ) from error
    try:
        _wait_for_worker(client, address)
        yield client
    except OSError as error:  # by any request to the scheduler
        raise lost_scheduler() from error
    finally:
        client.close(_CLOSE_SECONDS)


def lost_scheduler() -> WrongResultError:
    """Return the error of a load whose scheduler was lost."""
    return WrongResultError("the connection to Dask's scheduler was lost", AGAIN)


def _wait_for_worker(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, _CONNECT_SECONDS)
    except TimeoutError as error:
        raise InputError(f"the scheduler at {address} has no workers", f"Start one: dask worker {address}") from error


@contextmanager
def _local_cluster(jobs: int) -> Iterator[LocalCluster]:
    with TemporaryDirectory(prefix="pgvector-seed-", ignore_cleanup_errors=True) as folder, dask.config.set(_NO_PAGES):
        # Ctrl-C is for this process alone, which then ends the workers: they inherit the mask from the threads that
        # start them. The tracker runs already, since its start would remove the mask.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            cluster = LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                host=_HOST,
                security=True,  # TLS with a certificate for this run: another user's client would run code as this one
                silence_logs=logging.CRITICAL,
                scheduler_kwargs={"dashboard": False, "dashboard_address": f"{_HOST}:0"},
                local_directory=folder,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        with cluster:
            yield cluster


def _silence() -> None:
    """Turn off Dask's log and warnings: our errors have what the user has to know."""
    warnings.filterwarnings("ignore", module="distributed")
    for name in [*logging.root.manager.loggerDict, "tornado", "asyncio"]:
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [logging.NullHandler()], False
