"""Everything that would make a run fail later, found before any work and before slow imports."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from search.errors import UserError
from search.paths import from_here
from search.settings import SearchSettings
from search.setup.disk_space import results_space_problems, temp_space_problems
from search.setup.extras import notify_problems, tracker_problems
from search.setup.run_lock import run_lock
from search.setup.space_file import read_space
from search.study.integrity import record_problems
from search.tune.cluster_probe import cluster_problems

UNBORN_FILES = {"run.lock", "study.db", "study.db-journal", "space.toml"}
"""Files that a run may leave that was killed before it wrote run.toml."""


def new_run_problems(settings: SearchSettings) -> list[str]:
    """One line for each reason why a new run cannot start; empty if there is none."""
    problems = [
        *_results_problems(settings),
        *temp_space_problems(),
        *tracker_problems(settings),
        *notify_problems(settings),
        *cluster_problems(settings),
    ]
    try:
        read_space(settings)
    except UserError as error:
        problems.append(str(error))
    return problems


def resume_problems(run_dir: Path, *, trust_folder: bool = False, cluster: str | None = None) -> list[str]:
    """One line for each reason why a run cannot be resumed; empty if there is none.

    `trust_folder`: other users may be able to write to the folder. `cluster`: where it goes on; None for where it was.
    """
    # Imported late: it imports torch, and new runs do not need it here.
    from search.setup.document import read_document

    try:
        settings = read_document(run_dir).settings
        settings = settings.changed(cluster=cluster or settings.cluster)
    except UserError as error:
        return [str(error)]
    problems = [*([] if trust_folder else _writable_by_others(run_dir)), *temp_space_problems()]
    problems += cluster_problems(settings)
    try:
        with run_lock(run_dir):
            problems += tracker_problems(settings) or record_problems(run_dir, settings)
    except UserError as error:
        problems.append(str(error))
    return problems


def is_unborn(run_dir: Path) -> bool:
    """Whether a folder holds nothing but `UNBORN_FILES`."""
    return run_dir.is_dir() and {path.name for path in run_dir.iterdir()} <= UNBORN_FILES


def _results_problems(settings: SearchSettings) -> list[str]:
    folder, run_dir = settings.results_dir, settings.run_dir
    if os.path.lexists(run_dir) and not is_unborn(run_dir):
        shown = from_here(run_dir)
        return [f"{shown} exists already. Give another --name, or resume it: --resume {shown}."]
    there = next((path for path in (folder, *folder.absolute().parents) if os.path.lexists(path)), folder)
    if not there.is_dir():
        return [f"--results-dir {folder}: {there} is a file. Give a folder."]
    if not os.access(there, os.W_OK | os.X_OK):
        return [f"--results-dir {folder}: {there} is not writable. Give another folder."]
    return results_space_problems(settings, there)


def _writable_by_others(run_dir: Path) -> list[str]:
    """One line if other users could have changed the run's weights or settings."""
    for path in (run_dir, *sorted(run_dir.rglob("*"))):
        try:
            status = path.stat()
        except FileNotFoundError:
            # A checkpoint that the running owner replaced; the lock reports the owner.
            continue
        is_foreign = status.st_uid not in (0, os.geteuid())
        is_open = bool(status.st_mode & stat.S_IWOTH)
        is_open_to_group = bool(status.st_mode & stat.S_IWGRP) and status.st_gid not in (0, os.getegid())
        if is_foreign or is_open or is_open_to_group:
            return [
                f"{path} is writable by other users. If nobody changed it: chmod -R go-w {run_dir}, or, on a disk that "
                "keeps no permissions, --trust-folder"
            ]
    return []
