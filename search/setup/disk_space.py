"""How much disk space a run needs, and whether it is free."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from search.machine.temporary_folder import MAX_TEMP_LENGTH, short_temp_dir
from search.settings import SearchSettings
from search.text import size_text

MIN_TEMP_BYTES = 64 * 2**20
"""The least that Ray needs in its temporary folder."""
_CHECKPOINTS_PER_TRIAL = 3
"""Two are kept while another is written."""
_NUMBERS_PER_PARAMETER = 4
"""In a checkpoint: the weight, the optimizer's two moments and the moving average."""
_BYTES_PER_NUMBER = 4
_RECORD_BYTES = 8 * 2**20
_RECORD_BYTES_PER_EPOCH = 2048


def bytes_needed(settings: SearchSettings) -> int:
    """The most disk space that a run may need: checkpoints of all trials that run or are paused, and the record."""
    if settings.gpus:
        num_unfinished = settings.gpus * (settings.trials_per_gpu or 8)
    else:
        num_unfinished = max(1, (os.cpu_count() or 1) // (settings.cpus_per_trial or 1))
    if settings.scheduler == "promotion":
        num_unfinished = max(num_unfinished, settings.num_trials)
    epochs = settings.num_trials * settings.max_epochs
    return run_bytes(num_unfinished=num_unfinished, num_params=settings.max_params, epochs=epochs)


def run_bytes(*, num_unfinished: int, num_params: int, epochs: float) -> int:
    """Disk space for the checkpoints of unfinished trials with `num_params` each, and for a record of `epochs`."""
    checkpoint = num_params * _NUMBERS_PER_PARAMETER * _BYTES_PER_NUMBER
    return num_unfinished * _CHECKPOINTS_PER_TRIAL * checkpoint + _RECORD_BYTES + int(epochs * _RECORD_BYTES_PER_EPOCH)


def results_space_problems(settings: SearchSettings, folder: Path) -> list[str]:
    """One line if `folder`, which will hold the results, lacks the space."""
    free, needed = shutil.disk_usage(folder).free, bytes_needed(settings)
    if free >= needed:
        return []
    return [
        f"--results-dir {settings.results_dir}: {size_text(free)} are free and the run may need {size_text(needed)}. "
        "Make room, lower --max-params or give another folder."
    ]


def temp_space_problems() -> list[str]:
    """One line if no temporary folder suits Ray."""
    folder = short_temp_dir()
    if folder is None:
        return [
            f"the temporary folder {tempfile.gettempdir()} has more than {MAX_TEMP_LENGTH} characters, too many for "
            "Ray's sockets, or is not writable. Set TMPDIR to a shorter one."
        ]
    free = shutil.disk_usage(folder).free
    if free >= MIN_TEMP_BYTES:
        return []
    return [
        f"the temporary folder {folder} has {size_text(free)} free; Ray needs {size_text(MIN_TEMP_BYTES)}. "
        "Make room or set TMPDIR to another folder."
    ]
