"""The checkpoints of a run's trials: files in its folder. Only the process that holds the run's lock writes them."""

from __future__ import annotations

from pathlib import Path

from model.checkpoint import Checkpoint, delete_checkpoints, newest_checkpoint, write_checkpoint
from search.study.record import TrialId


class Checkpoints:
    """Each trial and each retraining has its own folder."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / "checkpoints"

    def newest(self, trial: TrialId) -> Checkpoint | None:
        """The newest one that is whole; None if there is none."""
        return newest_checkpoint(self._folder_of(trial))

    def write(self, trial: TrialId, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint and waits until it is on the disk. Raises OSError."""
        write_checkpoint(self._folder_of(trial), checkpoint)

    def delete(self, trial: TrialId) -> None:
        """Deletes all of a trial."""
        delete_checkpoints(self._folder_of(trial))

    def _folder_of(self, trial: TrialId) -> Path:
        return self._folder / (f"trial-{trial:04d}" if isinstance(trial, int) else trial.replace(":", "-"))
