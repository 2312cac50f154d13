"""Keeps Ray from this process's screen and signal handlers."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from search.machine.signals import STOP_SIGNALS

# The last one has its own handler and reports at every start that a token is in use.
_LOGGERS = ("ray", "ray.tune", "ray.train", "ray._private.authentication.authentication_token_setup")


@contextlib.contextmanager
def redirect_output(log_file: Path) -> Iterator[None]:
    """Sends Ray's log messages to a file. If the disk is full, they are dropped."""
    handler = logging.FileHandler(log_file, delay=True)
    handler.handleError = lambda record: None  # type: ignore[method-assign]
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
    try:
        yield
    finally:
        handler.close()


@contextlib.contextmanager
def keep_signal_handlers() -> Iterator[None]:
    """Restores the handlers that Ray replaces in the main thread. Processes started inside survive SIGHUP."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
