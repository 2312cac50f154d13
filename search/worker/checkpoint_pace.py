"""When to save a checkpoint: as often as it is cheap."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

MAX_SHARE = 0.05
"""Share of the training time that saving may take, until the checkpoint is on the disk."""


class CheckpointPace:
    """Measures how long saving takes. The first epoch is saved at once."""

    def __init__(self) -> None:
        self._last_saved = time.monotonic()
        self._cost_s = 0.0

    def is_due(self) -> bool:
        """Whether enough time has passed since the last checkpoint."""
        return time.monotonic() - self._last_saved >= self._cost_s / MAX_SHARE

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """Times the saving inside the block."""
        start = time.monotonic()
        yield
        self._last_saved = time.monotonic()
        self._cost_s = self._last_saved - start
