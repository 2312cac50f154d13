"""run.toml, the description of a run, and its space.toml: files that anyone may have edited, so they are checked."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.data import TrainingData
from model.engine import Engine
from model.network_source import NetworkSource
from model.split_images import ImageArrays
from model.survey import ImageSurvey
from search.errors import OtherFormatError, UserError
from search.files import read_text
from search.machine.slots import Slots
from search.options import Place, problem_lines
from search.settings import RECORD_VERSION, SearchSettings

_STRICT = ConfigDict(frozen=True, strict=True, extra="forbid")


class DataRecord(BaseModel):
    """The images of a run."""

    model_config = _STRICT

    name: str
    """cifar10, digits or the folder."""
    fingerprint: str
    """sha256 of the training images and labels."""
    split_hash: str
    """sha256 of the train/validation split."""
    image_size: int
    """Side in pixels."""
    num_train: int
    """Training images of a trial."""
    num_val: int
    val_counts: tuple[int, ...]
    """Validation images of each class."""
    class_names: tuple[str, ...]
    mean: tuple[float, float, float]
    """By channel, of the images that trials train on, as fractions 0..1."""
    std: tuple[float, float, float]
    survey: ImageSurvey | None = None
    """What was read and what was passed over; None in runs of earlier versions."""

    @property
    def test_fingerprint(self) -> str | None:
        """sha256 of the test images; None in runs of earlier versions."""
        return None if self.survey is None else self.survey.test_fingerprint

    @classmethod
    def of(cls, data: TrainingData, images: ImageArrays, survey: ImageSurvey) -> DataRecord:
        """The record of loaded images and their split."""
        return cls(
            name=data.name,
            fingerprint=data.fingerprint,
            split_hash=images.split_hash,
            image_size=int(images.images.shape[1]),
            num_train=len(images.train_indices),
            num_val=len(images.val_indices),
            val_counts=tuple(np.bincount(images.labels[images.val_indices], minlength=images.num_classes).tolist()),
            class_names=data.class_names,
            mean=images.mean,
            std=images.std,
            survey=survey,
        )


class NetworkRecord(BaseModel):
    """The source of --network, so that a resume can tell whether it is the same. The source itself is never run."""

    model_config = _STRICT

    sha256: str
    files: tuple[str, ...]
    """Paths below the folder of the named file or package, copied to `network/`; none of an installed module."""

    @classmethod
    def of(cls, network: NetworkSource) -> NetworkRecord | None:
        """None for the built-in networks."""
        return None if network.is_built_in else cls(sha256=network.sha256, files=tuple(sorted(network.files)))


class HardwareRecord(BaseModel):
    """The machine that a run started on."""

    model_config = _STRICT

    processor: str
    cpu_cores: int
    """Cores that the run may use."""
    memory_gib: float
    gpus: tuple[str, ...]
    """The name of each."""
    system: str


class RunDocument(BaseModel):
    """All of run.toml: what is needed to understand the run and to run it again."""

    model_config = _STRICT

    record_version: int = RECORD_VERSION
    created: str
    """ISO 8601, UTC."""
    command: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What was adapted to the images."""
    settings: SearchSettings
    network: NetworkRecord | None = None
    """None for the built-in networks."""
    data: DataRecord
    engine: Engine
    """Of the trials."""
    slots: Slots
    engines: dict[str, Engine] = Field(default_factory=dict)
    """On a cluster, by kind of accelerator."""
    measurements: dict[str, list[dict[str, Any]]]
    """What engine and slots were chosen by: `engine`, ms a step; `packing`, summed images/s of trials side by side."""
    versions: dict[str, str]
    hardware: HardwareRecord
    forecast: dict[str, Any] | None = None

    @property
    def command_note(self) -> str:
        """What the command does not say: how many trials there are since people changed it, and where the space is."""
        num_trials, notes = self.settings.num_trials, []
        if self.forecast is not None and self.forecast.get("num_trials", num_trials) != num_trials:
            notes.append(f"The run now has {num_trials} trials (--trials {num_trials}).")
        if self.settings.space is not None:
            notes.append("Its search space is space.toml in the run's folder (--space space.toml).")
        return " ".join(notes)

    def to_toml(self) -> str:
        """The file that `read_document` reads back as an equal document."""
        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))


def read_document(run_dir: Path) -> RunDocument:
    """A run's run.toml. UserError if there is none, or it is damaged or of another version; a line for each problem."""
    path = run_dir / "run.toml"
    try:
        table = tomllib.loads(read_text(path))
    except OSError:
        raise UserError(f"{run_dir} holds no run: it has no readable run.toml. Give a folder under results/.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from None
    version = table.get("record_version")
    if version != RECORD_VERSION:
        raise OtherFormatError(
            f"{run_dir} was written by another version (record {version}, this program writes {RECORD_VERSION}). "
            "Use that version or start a new run."
        )
    try:
        # As JSON: strict checks of it take a list for a tuple, a table for a dataclass and text for a path.
        return RunDocument.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        lines = problem_lines(error.errors(), _name_at, _known_keys)
        raise UserError("\n".join(str(damaged(path, line)) for line in lines)) from None


def read_space_text(run_dir: Path) -> str:
    """The run's own copy of its search space. UserError if it cannot be read."""
    path = run_dir / "space.toml"
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}). Restore it from a copy.") from None


def damaged(path: Path, reason: str) -> UserError:
    """The error for a file of a run that is not as the run wrote it."""
    return UserError(f"{path} is damaged ({reason}). Restore it from a copy.")


def _name_at(place: Place) -> str:
    return f"`{place[0]}`" if len(place) == 1 else f"`{place[1]}` in [{place[0]}]"


def _known_keys(place: Place) -> tuple[str, ...]:
    if len(place) == 1:
        return tuple(RunDocument.model_fields)
    declared: Any = RunDocument.model_fields[str(place[0])].annotation
    for section in (declared, *get_args(declared)):  # also one of several, such as an engine
        if is_dataclass(section):
            return tuple(field.name for field in fields(section))
        if hasattr(section, "model_fields"):
            return tuple(section.model_fields)
    return ()
