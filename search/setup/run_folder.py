"""A run's folder: made new or taken up again, locked by one process, described by run.toml."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.engine import Engine
from search.errors import UserError
from search.files import write_atomically
from search.machine.hardware import describe_hardware, describe_versions
from search.machine.slots import Slots
from search.settings import RECORD_VERSION, SearchSettings
from search.setup.document import read_document, section_as
from search.setup.preflight import UNBORN_FILES, is_unborn
from search.setup.prepare import Machine, Preparation
from search.setup.run_lock import run_lock
from search.toml_text import toml_document

_PATHS = ("data_dir", "space", "results_dir")


class RunFolder:
    """One run's folder on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def created(self) -> Iterator[None]:
        """Makes the folder and holds its lock. Removed again if the run fails before it is described."""
        try:
            self.path.mkdir(parents=True, exist_ok=is_unborn(self.path))
        except OSError as error:
            raise UserError(f"{self.path} cannot be made ({error.strerror}). Give another --results-dir.") from None
        with self.locked():
            try:
                (self.path / "study.db").unlink(missing_ok=True)
                yield
            finally:
                self._clear_unborn()

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Holds the run for this process; the lock goes with the process, however it ends."""
        return run_lock(self.path)

    def _clear_unborn(self) -> None:
        """Removes what is there of a run that never got as far as its description."""
        if is_unborn(self.path):
            for name in UNBORN_FILES:
                (self.path / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.path.rmdir()

    def write_new(self, preparation: Preparation) -> None:
        """Writes run.toml and the search space before the first trial."""
        write_atomically(self.path / "space.toml", preparation.space.to_toml())
        write_atomically(self.path / "run.toml", toml_document(run_document(preparation)))

    def write_settings(self, settings: SearchSettings) -> None:
        """Writes the settings of a run that is taken up again; the rest of run.toml stays what it was."""
        self._write_table("settings", settings_table(settings))

    def write_forecast(self, table: Mapping[str, Any]) -> None:
        """Writes what the run was expected to take, and later what it took."""
        self._write_table("forecast", table)

    def _write_table(self, name: str, table: Mapping[str, Any]) -> None:
        earlier = tomllib.loads((self.path / "run.toml").read_text())
        write_atomically(self.path / "run.toml", toml_document({**earlier, name: table}))


def settings_table(settings: SearchSettings) -> dict[str, Any]:
    """The settings as run.toml has them."""
    values = dataclasses.asdict(settings)
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def run_document(preparation: Preparation) -> dict[str, Any]:
    """What run.toml says: everything needed to know what was run, and to run it again."""
    data, arrays = preparation.data, preparation.arrays
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.argv]),
        "warnings": preparation.warnings,
        "record": {"version": RECORD_VERSION},
        "settings": settings_table(preparation.settings),
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "split_hash": arrays.split_hash,
            "image_size": preparation.image_size,
            "num_train": len(arrays.train_indices),
            "num_val": len(arrays.val_indices),
            "class_names": list(data.class_names),
            "mean": list(arrays.mean),
            "std": list(arrays.std),
        },
        "engine": dataclasses.asdict(preparation.machine.engine),
        "slots": dataclasses.asdict(preparation.machine.slots),
        "measurements": preparation.measurements,
        "versions": describe_versions(),
        "hardware": describe_hardware(),
    }


def read_settings(run_dir: Path) -> SearchSettings:
    """The settings of the run in a folder. UserError if it holds none, or one of another version."""
    values = {"scheduler": "asha", **read_document(run_dir)["settings"]}  # older runs knew no other
    values |= {key: Path(str(values[key])) for key in _PATHS if key in values}
    folder = run_dir.resolve()
    settings = section_as(SearchSettings, values, run_dir / "run.toml")
    if settings.run_name != folder.name:
        raise UserError(
            f"{run_dir} was made with the name {settings.run_name}, under which its record is kept. Rename it back."
        )
    # The folder may have been moved since.
    space = folder / "space.toml" if settings.space else None
    return dataclasses.replace(settings, results_dir=folder.parent, space=space)


def read_machine(run_dir: Path) -> Machine:
    """How the run in a folder uses its machine. UserError as for its settings."""
    document, path = read_document(run_dir), run_dir / "run.toml"
    return Machine(
        engine=section_as(Engine, document["engine"], path), slots=section_as(Slots, document["slots"], path)
    )
