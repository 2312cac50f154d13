"""When to save a checkpoint: as often as it costs little."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

MAX_SHARE = 0.05
"""Of the training's time that saving may take, so that a kill loses little and saving costs less."""


class CheckpointPace:
    """Measures what saving takes; the first epoch is saved at once."""

    def __init__(self) -> None:
        self._last_saved = time.monotonic()
        self._cost_s = 0.0

    def is_due(self) -> bool:
        """Whether enough was trained since the last checkpoint to be worth another."""
        return time.monotonic() - self._last_saved >= self._cost_s / MAX_SHARE

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Times the saving within."""
        start = time.monotonic()
        yield
        self._last_saved = time.monotonic()
        self._cost_s = self._last_saved - start
