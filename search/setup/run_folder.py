"""A run's folder: created or resumed, locked by one process, described by run.toml."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model.network_source import BUILT_IN, NetworkSource
from search.errors import UserError
from search.files import write_atomically
from search.machine.hardware import gpu_names
from search.machine.machine import Machine
from search.settings import SearchSettings
from search.setup.document import DataRecord, RunDocument, read_document
from search.setup.preflight import UNBORN_FILES, is_unborn
from search.setup.run_lock import run_lock
from search.space.space import SearchSpace


class RunFolder:
    """One run's folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def created(self) -> Iterator[None]:
        """Creates the folder and holds its lock. Removes it again if the run fails before run.toml is written."""
        try:
            self.path.mkdir(parents=True, exist_ok=is_unborn(self.path))
        except OSError as error:
            raise UserError(f"{self.path} cannot be created ({error.strerror}). Give another --results-dir.") from None
        with self.locked():
            try:
                (self.path / "study.db").unlink(missing_ok=True)
                yield
            finally:
                self._clear_unborn()

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Holds the run for this process; the lock ends with the process."""
        return run_lock(self.path)

    def _clear_unborn(self) -> None:
        if is_unborn(self.path):
            for name in UNBORN_FILES:
                (self.path / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def write_new(self, document: RunDocument, space: SearchSpace, network: NetworkSource = BUILT_IN) -> None:
        """Writes space.toml, then run.toml, before the first trial; then a copy of an own network's source to read."""
        write_atomically(self.path / "space.toml", space.to_toml())
        self._write(document)
        for name, text in network.files.items():
            path = self.path / "network" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)

    def write_settings(self, settings: SearchSettings, data: DataRecord) -> None:
        """Replaces the settings and the images' place in run.toml when a run is resumed."""
        self._write(read_document(self.path).model_copy(update={"settings": settings, "data": data}))

    def write_forecast(self, table: Mapping[str, Any]) -> None:
        """Replaces the forecast in run.toml."""
        self._write(read_document(self.path).model_copy(update={"forecast": dict(table)}))

    def _write(self, document: RunDocument) -> None:
        write_atomically(self.path / "run.toml", document.to_toml())


def read_settings(run_dir: Path) -> SearchSettings:
    """The settings of a run, with its folder as it is now. UserError as for `read_document`, or if it was renamed."""
    settings = read_document(run_dir).settings
    folder = run_dir.resolve()
    if settings.run_name != folder.name:
        raise UserError(f"{run_dir} was created as {settings.run_name}, the name in its record. Rename it back.")
    return settings.changed(results_dir=folder.parent, space=folder / "space.toml" if settings.space else None)


def read_machine(run_dir: Path, settings: SearchSettings) -> Machine | None:
    """How a run uses its machine or cluster; None if it used other GPUs than those here, or moves in or out of a
    cluster with these settings. UserError as for `read_document`."""
    document = read_document(run_dir)
    if settings.cluster is not None or document.engines:
        is_kept = settings.cluster is not None and document.engines
        return Machine(engine=document.engine, slots=document.slots, engines=document.engines) if is_kept else None
    if document.engine.device_type == "cuda" and document.hardware.gpus != gpu_names():
        return None
    return Machine(engine=document.engine, slots=document.slots)
