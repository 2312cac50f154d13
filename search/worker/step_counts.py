"""How far each running trial is within its epoch: a few bytes a trial, mapped by its worker, read by whoever looks.

Ray hears of a trial once an epoch, for it counts and decides by reports. Steps take another way: a worker stores three
numbers in memory that is a file, which costs nothing that a training could notice.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_FORMAT = struct.Struct("=III")


@dataclass(frozen=True)
class StepCount:
    """Where a trial is."""

    epoch: int
    """The one that is being trained, from 1."""
    step: int
    """Optimizer steps of it that are done."""
    num_steps: int
    """Of the whole epoch."""

    @property
    def fraction(self) -> float:
        """Of the epoch's steps, 0..1."""
        return self.step / self.num_steps if self.num_steps else 0.0


class StepCounts:
    """One folder of counts, a file a trial; on one machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def writer(self, trial_number: int) -> Callable[[int, int, int], None]:
        """A function of (epoch, step, number of steps) that stores them for one trial; begins at nothing.

        On a disk that takes no more it stores nothing: to be watched is worth no trial.
        """
        path = self._folder / str(trial_number)
        try:
            self._folder.mkdir(exist_ok=True)
            path.write_bytes(bytes(_FORMAT.size))
            with path.open("r+b") as file:
                memory = mmap.mmap(file.fileno(), _FORMAT.size)
        except OSError:
            return lambda epoch, step, num_steps: None
        return lambda epoch, step, num_steps: _FORMAT.pack_into(memory, 0, epoch, step, num_steps)

    def read(self) -> dict[int, StepCount]:
        """By trial number, of all trials that ever began to train."""
        counts = {}
        for path in self._folder.glob("*"):
            with contextlib.suppress(OSError, struct.error):  # one that is being made just now is not whole
                counts[int(path.name)] = StepCount(*_FORMAT.unpack(path.read_bytes()))
        return counts
