"""What the client sends, and how long it asks again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import numpy as np

from search.errors import UserError

PATIENCE_S = 60.0
"""How long `wait` and `events` ask a service again that is gone or busy."""
POLL_S = 2.0


class Unavailable(UserError):
    """The service is gone or busy; it may answer later."""

    def __init__(self, message: str, retry_after_s: float = POLL_S) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Patience:
    """The time that a service has to come back, from its first failure to its next answer."""

    def __init__(self) -> None:
        self._failing_since: float | None = None

    def renew(self) -> None:
        """It has answered."""
        self._failing_since = None

    def sleep(self, failure: Unavailable) -> None:
        """Waits before the next attempt; raises `failure` if there were enough."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        if now + failure.retry_after_s - self._failing_since > PATIENCE_S:
            raise failure
        time.sleep(failure.retry_after_s)


def part_of_address(name: str) -> str:
    """A name as a part of an address. UserError for one that leads to another address."""
    if not name or not name.strip("."):
        raise UserError(f"a name must not be empty or only dots; got {name!r}.")
    return quote(name, safe="")


def json_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that JSON has, those of numpy as Python's. UserError for others."""
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
    for name, value in plain.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise UserError(f"`{name}` must be a finite number, a switch or text; got {value!r:.80}.") from None
    return plain


def opened(path: str | Path) -> IO[bytes]:
    """A file to send. UserError if there is none."""
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from None
