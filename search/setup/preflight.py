"""What would make a run fail later, found before any work and before slow imports: folders, room, permissions."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from search.errors import UserError
from search.settings import SearchSettings
from search.setup.document import read_document
from search.setup.extras import tracker_problems
from search.setup.run_lock import run_lock
from search.study.integrity import record_problems
from search.text import size_text

# Ray's sockets are files below its temporary folder, and a socket's path has at most 107 characters on Linux.
MAX_TEMP_LENGTH = 28
UNBORN_FILES = {"run.lock", "study.db", "study.db-journal", "space.toml"}
MIN_TEMP_BYTES = 64 * 2**20
_CHECKPOINTS_PER_TRIAL = 3
_NUMBERS_PER_PARAMETER = 4
_RECORD_BYTES = 8 * 2**20
_RECORD_BYTES_PER_EPOCH = 2048


def new_run_problems(settings: SearchSettings) -> list[str]:
    """One line for each thing that keeps a new run from being made; empty when all is well."""
    return [*_results_problems(settings), *_temp_problems(), *tracker_problems(vars(settings))]


def resume_problems(run_dir: Path) -> list[str]:
    """One line for each thing that keeps a run from being taken up again."""
    try:
        settings = read_document(run_dir)["settings"]
    except UserError as error:
        return [str(error)]
    problems = [*_writable_by_others(run_dir), *_temp_problems()]
    try:
        with run_lock(run_dir):
            problems += tracker_problems(settings) or record_problems(run_dir, settings)
    except UserError as error:
        problems.append(str(error))
    return problems


def bytes_needed(settings: SearchSettings) -> int:
    """Room for a run's files: the checkpoints of all trials that run side by side or wait, and the record."""
    if settings.gpus:
        num_concurrent = settings.gpus * (settings.trials_per_gpu or 8)
    else:
        num_concurrent = max(1, (os.cpu_count() or 1) // (settings.cpus_per_trial or 1))
    epochs = settings.num_trials * settings.max_epochs
    if settings.scheduler == "promotion":
        num_concurrent = max(num_concurrent, settings.num_trials)
    return run_bytes(num_unfinished=num_concurrent, num_params=settings.max_params, epochs=epochs)


def run_bytes(*, num_unfinished: int, num_params: int, epochs: float) -> int:
    """Room for the checkpoints of so many unfinished trials of so many parameters, and for the record of epochs."""
    # Weights, two moments of the optimizer and an average, in float32; two checkpoints and one being written.
    checkpoint = num_params * 4 * _NUMBERS_PER_PARAMETER
    return num_unfinished * _CHECKPOINTS_PER_TRIAL * checkpoint + _RECORD_BYTES + int(epochs * _RECORD_BYTES_PER_EPOCH)


def is_unborn(run_dir: Path) -> bool:
    """Whether a folder holds no more than a run leaves that was killed before it described itself."""
    return run_dir.is_dir() and {path.name for path in run_dir.iterdir()} <= UNBORN_FILES


def short_temp_dir() -> Path | None:
    """A temporary folder whose path leaves room for Ray's sockets; None if there is none."""
    candidates = [Path(tempfile.gettempdir()), Path("/tmp")]
    return next((path for path in candidates if len(str(path)) <= MAX_TEMP_LENGTH and os.access(path, os.W_OK)), None)


def _results_problems(settings: SearchSettings) -> list[str]:
    folder, run_dir = settings.results_dir, settings.run_dir
    if os.path.lexists(run_dir) and not is_unborn(run_dir):
        return [f"{run_dir} exists already. Give another --name, or go on with it: --resume {run_dir}."]
    there = next((path for path in (folder, *folder.absolute().parents) if os.path.lexists(path)), folder)
    if not there.is_dir():
        return [f"--results-dir {folder}: {there} is a file. Give a folder."]
    if not os.access(there, os.W_OK | os.X_OK):
        return [f"--results-dir {folder}: {there} cannot be written to. Give another folder."]
    free, needed = shutil.disk_usage(there).free, bytes_needed(settings)
    if free < needed:
        return [
            f"--results-dir {folder}: {size_text(free)} are free and the run may need {size_text(needed)}. "
            "Make room, lower --max-params or give another folder."
        ]
    return []


def _temp_problems() -> list[str]:
    folder = short_temp_dir()
    if folder is None:
        return [
            f"the temporary folder {tempfile.gettempdir()} has more than {MAX_TEMP_LENGTH} characters, too many for "
            "Ray's sockets, or cannot be written to. Set TMPDIR to a shorter one."
        ]
    free = shutil.disk_usage(folder).free
    if free < MIN_TEMP_BYTES:
        return [
            f"the temporary folder {folder} has {size_text(free)} left; Ray needs {size_text(MIN_TEMP_BYTES)}. "
            "Make room or set TMPDIR to another."
        ]
    return []


def _writable_by_others(run_dir: Path) -> list[str]:
    """Whoever can write to a run could have its weights and settings be anything; such a run is not taken up."""
    for path in (run_dir, *sorted(run_dir.rglob("*"))):
        try:
            status = path.stat()
        except FileNotFoundError:
            # A checkpoint of a run that goes on; the lock tells of that.
            continue
        is_foreign = status.st_uid not in (0, os.geteuid())
        is_open = bool(status.st_mode & stat.S_IWOTH)
        is_open_to_group = bool(status.st_mode & stat.S_IWGRP) and status.st_gid not in (0, os.getegid())
        if is_foreign or is_open or is_open_to_group:
            return [f"{path} can be written to by other users. If it is as you left it: chmod -R go-w {run_dir}"]
    return []
