"""The progress of each running trial within its epoch, in a small memory-mapped file per trial.

Ray gets one report an epoch, because it counts and decides by reports. For the steps in between, a worker stores three
numbers in mapped memory, at no noticeable cost to its training.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from search.study.record import TrialId

_FORMAT = struct.Struct("=III")


@dataclass(frozen=True)
class StepCount:
    """Where a trial is within its epoch."""

    epoch: int
    """The epoch in training, from 1."""
    step: int
    """Optimizer steps done."""
    num_steps: int
    """Optimizer steps of the whole epoch."""

    @property
    def fraction(self) -> float:
        """Share of the epoch's steps that is done, 0..1."""
        return self.step / self.num_steps if self.num_steps else 0.0


class StepCounts:
    """A folder with one file per trial, on one machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def writer(self, trial: TrialId) -> Callable[[int, int, int], None]:
        """Returns a function of (epoch, step, number of steps) that stores them for one trial.

        If the disk is full it stores nothing: progress is not worth a failed trial.
        """
        path = self._folder / str(trial)
        try:
            self._folder.mkdir(exist_ok=True)
            path.write_bytes(bytes(_FORMAT.size))
            with path.open("r+b") as file:
                memory = mmap.mmap(file.fileno(), _FORMAT.size)
        except OSError:
            return lambda epoch, step, num_steps: None
        return lambda epoch, step, num_steps: _FORMAT.pack_into(memory, 0, epoch, step, num_steps)

    def read(self) -> dict[TrialId, StepCount]:
        """The counts of all trials that ever started."""
        counts: dict[TrialId, StepCount] = {}
        for path in self._folder.glob("*"):
            with contextlib.suppress(OSError, struct.error):  # one that is being made just now is not whole
                trial = int(path.name) if path.name.isdigit() else path.name
                counts[trial] = StepCount(*_FORMAT.unpack(path.read_bytes()))
        return counts

    def clear(self) -> None:
        """Forgets all counts so far."""
        for path in self._folder.glob("*"):
            path.unlink(missing_ok=True)
