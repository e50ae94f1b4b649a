"""How an interrupt reaches the program and the provider, which the engine runs for us."""

import os
import select
import signal
import sys
from threading import Thread
from typing import Any


def leave_quietly_on_interrupt() -> None:
    """Exit at once on SIGINT, which the engine sends when a resource fails; unless there is a handler already.

    Without this, the Python host prints the traceback of a KeyboardInterrupt below the real error.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(1))


def end_with_engine() -> None:
    """Have the provider's process, in which this is called, stop its work on Cancel, and end when the engine is gone.

    The engine calls Cancel on an interrupt, and waits until the work is done. The SDK's own does nothing.
    """
    servicer = getattr(sys.modules["__main__"], "DynamicResourceProviderServicer", None)
    if servicer is None or servicer.Cancel.__code__ is _cancel.__code__:
        return
    servicer.Cancel.__code__ = _cancel.__code__  # the server has the method by now, but not what is in it
    Thread(target=_leave_unread, daemon=True).start()


def _cancel(_self: Any, _request: Any, _context: Any) -> Any:
    """Run as the SDK's method, in its module: what is needed is imported here."""
    from google.protobuf import empty_pb2

    from pgvector_seed.postgres.interrupt import stop

    stop()
    return empty_pb2.Empty()


def _leave_unread() -> None:
    """Exit when nobody reads this process's output any more: a killed engine leaves its providers running.

    Their parent is a shell, which stays as long as they do.
    """
    output = select.poll()
    output.register(sys.stdout, 0)
    output.poll()
    os._exit(1)
