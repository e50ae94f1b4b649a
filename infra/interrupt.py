"""A quiet end when the engine stops the program."""

import os
import signal


def leave_quietly_on_interrupt() -> None:
    """Exit at once on SIGINT, which the engine sends when a resource fails.

    Without this, the Python host prints the traceback of a KeyboardInterrupt below the real error.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(1))
