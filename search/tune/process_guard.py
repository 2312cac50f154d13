"""Keeps this process's screen and signals its own while Ray works in it."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

from search.machine.signals import STOP_SIGNALS

# The last says at every start, on a handler of its own, that the token is in use.
_LOGGERS = ("ray", "ray.tune", "ray.train", "ray._private.authentication.authentication_token_setup")


@contextlib.contextmanager
def words_go_to(log_file: Path) -> Iterator[None]:
    """Ray's words go to a file; a disk too full for them does not matter."""
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
def signals_stay_ours() -> Iterator[None]:
    """Keeps the handlers that Ray puts its own in place of; what starts within does not die of a closing terminal."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
