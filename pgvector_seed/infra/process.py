"""The two processes that Pulumi's engine starts, the program and the dynamic provider: their output and their end."""

import os
import select
import signal
import sys
import traceback
from threading import Thread
from types import SimpleNamespace
from typing import Any

from pgvector_seed.common.errors import Error


def leave_quietly_on_interrupt() -> None:
    """Exit without a traceback on SIGINT, which the engine sends when a resource fails, unless a handler is set.

    Otherwise the Python host prints the traceback of a KeyboardInterrupt below the resource's error.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(1))


def end_with_engine() -> None:
    """Make the provider's process stop its statements on Cancel, and exit when the engine has ended.

    The engine calls Cancel on an interrupt, and waits for the running operation. The SDK's Cancel does nothing. Must be
    called in the provider's process.
    """
    servicer = getattr(sys.modules["__main__"], "DynamicResourceProviderServicer", None)
    if servicer is None or servicer.Cancel.__code__ is _cancel.__code__:
        return
    # The gRPC server holds the method already, so only its code can be replaced.
    servicer.Cancel.__code__ = _cancel.__code__
    Thread(target=_exit_without_reader, daemon=True).start()


def _cancel(_self: Any, _request: Any, _context: Any) -> Any:
    """Stop the statements. Runs as the SDK's method, with the globals of its module, so it imports its names."""
    from google.protobuf import empty_pb2

    from pgvector_seed.postgres.interrupt import stop

    stop()
    return empty_pb2.Empty()


def _exit_without_reader() -> None:
    """Exit once this process's output has no reader: a killed engine leaves its providers running.

    The parent process does not show this: it is a shell that waits for the provider.
    """
    output = select.poll()
    output.register(sys.stdout, 0)
    output.poll()
    os._exit(1)


def print_errors_in_one_line() -> None:
    """Make the SDK send an Error to the engine without its traceback. Must be called in the provider's process.

    All other exceptions keep their traceback, also those of other dynamic resources in the same process.
    """
    sdk = sys.modules["__main__"]
    if getattr(sdk, "traceback", None) is traceback:
        sdk.traceback = SimpleNamespace(**{**vars(traceback), "format_exc": _format_error})  # type: ignore[attr-defined]


def _format_error() -> str:
    error = sys.exc_info()[1]
    return f"{type(error).__name__}: {error}\n" if isinstance(error, Error) else traceback.format_exc()


def report(line: str) -> None:
    """Print a line of progress, which the engine shows at once."""
    print(line, flush=True)
