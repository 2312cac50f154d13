"""Output that falls silent when nobody reads it any longer: the words end, the training goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import IO, Any, cast

_NO_READER = (errno.EPIPE, errno.EIO)
"""A closed pipe, and a terminal that is gone."""


class QuietStream:
    """A text stream that drops what it is given once its reader is gone."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self.has_reader = True

    def write(self, text: str) -> int:
        """Writes the text, unless there is no reader; signs that the stream's encoding lacks as their numbers."""
        with self._quietly():
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                known = getattr(self._stream, "encoding", None) or "ascii"
                self._stream.write(text.encode(known, "backslashreplace").decode(known))
        return len(text)

    def flush(self) -> None:
        """Flushes the stream, unless there is no reader."""
        with self._quietly():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _NO_READER:
                raise
            self.has_reader = False
            # What the stream still holds, and what others write, must not fail either.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def quiet(stream: IO[str] | None) -> IO[str]:
    """The stream as a `QuietStream`. None, which a process without it has, drops all words."""
    return cast("IO[str]", QuietStream(stream or open(os.devnull, "w", encoding="utf-8")))


@contextlib.contextmanager
def quiet_output() -> Iterator[None]:
    """Makes the standard output and error quiet within the block."""
    earlier = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = quiet(sys.stdout), quiet(sys.stderr)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = earlier


def last_words(text: str, stream: IO[str]) -> None:
    """Prints what must not be lost; on the terminal if nobody reads the quiet stream, as after Ctrl-C with tee."""
    print(text, file=stream, flush=True)
    if not getattr(stream, "has_reader", True):
        with contextlib.suppress(OSError), open("/dev/tty", "w", encoding="utf-8") as terminal:
            print(text, file=terminal)
