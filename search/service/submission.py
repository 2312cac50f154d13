"""A run as the network may ask for it: settings without those that name files, addresses or code of this machine."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model

from search.commands import time_text
from search.errors import SpaceError, UserError
from search.run_options import DATA_SETS, RUN_NAME_PATTERN
from search.service.queue import MAX_PRIORITY
from search.settings import OPTIONS, SearchSettings, kind_of

SPACE_MAX_BYTES = 100_000
_PLAIN_TYPES = (int, float, bool)
DATASET_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,79}")
"""A folder in --datasets-dir."""


def _is_plain(kind: Any) -> bool:
    """Whether values of a type can only be numbers, switches or words from a list."""
    return kind in _PLAIN_TYPES or get_origin(kind) is Literal


ALLOWED = tuple(name for name in SearchSettings.model_fields if _is_plain(kind_of(name)))
"""The settings that anybody may choose. A new option that takes text is closed until it is opened here."""


class _Request(BaseModel):
    """Fields that are not settings, or that take less than the settings do."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    run_name: Annotated[str, Field(pattern=f"^{RUN_NAME_PATTERN.pattern}$")] | None = Field(
        None, description="name of the run; by default the time"
    )
    dataset: Annotated[str, Field(max_length=80)] = Field(
        "digits", description=f"{', '.join(DATA_SETS)}, or the name of a data set of this service"
    )
    space: Annotated[str, Field(max_length=SPACE_MAX_BYTES)] | None = Field(
        None, description="the search space as TOML text; by default the space that comes with the program"
    )
    cores: Annotated[int, Field(ge=1)] | None = Field(
        None, description="CPU cores for the run; by default all, or with GPUs their share"
    )
    priority: Annotated[int, Field(ge=-MAX_PRIORITY, le=MAX_PRIORITY)] = Field(
        0, description="runs of a higher priority start first; above 0 for admins only"
    )


def _settings_fields() -> dict[str, Any]:
    fields = {}
    for name in ALLOWED:
        declared, option = SearchSettings.model_fields[name], OPTIONS[name]
        words = option.help if option.default_text is None else f"{option.help} (default: {option.default_text})"
        annotation = Annotated[declared.annotation, *declared.metadata] if declared.metadata else declared.annotation
        fields[name] = (annotation, Field(declared.default, description=words))
    return fields


RunRequest: Any = create_model("RunRequest", __base__=_Request, **_settings_fields())
"""The body of POST /api/runs."""


@dataclass(frozen=True)
class Folders:
    """The two folders that a service may use."""

    results: Path
    datasets: Path | None

    @property
    def own(self) -> Path:
        """What the service keeps for itself; no run can have this name."""
        return self.results / ".service"

    def run(self, name: str) -> Path:
        """A run's folder."""
        return self.results / name

    def free_name(self, wanted: str) -> str:
        """A name that no run has; several may be submitted within a second."""
        names = (wanted, *(f"{wanted}-{number}" for number in range(2, 1000)))
        return next(name for name in names if not self.run(name).exists() and not self.log(name).exists())

    def log(self, name: str) -> Path:
        """What a run's process printed."""
        return self.own / f"{name}.log"

    def exit_code(self, name: str) -> Path:
        """The file in which a run's process leaves its exit code."""
        return self.own / f"{name}.exit"

    def space(self, name: str) -> Path:
        """The space file that a run was asked for with."""
        return self.own / f"{name}.toml"

    def dataset(self, name: str) -> Path | None:
        """The folder of a data set; None if there is none."""
        if self.datasets is None or not DATASET_PATTERN.fullmatch(name):
            return None
        found = self.datasets / name
        return found if found.is_dir() else None


def settings_of(request: Any, folders: Folders) -> SearchSettings:
    """The settings of a new run. UserError if they cannot be; the space's problems are `space_problems`."""
    values = {name: getattr(request, name) for name in ALLOWED if name in request.model_fields_set}
    name = request.run_name or folders.free_name(time.strftime("%Y-%m-%d_%H%M%S"))
    dataset = request.dataset
    if dataset not in DATA_SETS:
        folder = folders.dataset(dataset)
        if folder is None:
            raise UserError(f"`dataset` must be {', '.join(DATA_SETS)} or a data set of this service; got {dataset!r}.")
        dataset = str(folder)
    if request.space:
        values["space"] = folders.space(name)
    return SearchSettings(run_name=name, results_dir=folders.results, dataset=dataset, **values)


def space_problems(text: str | None, settings: SearchSettings) -> list[tuple[int | None, str]]:
    """What is wrong with a search space, each with the number of its line if it has one."""
    from search.space.network_space import network_space
    from search.space.space_check import Limits

    try:
        # The images may have another number of classes: that changes the size of the last layer only.
        limits = Limits(
            max_params=settings.max_params,
            min_receptive_field=settings.min_receptive_field,
            num_classes=10,
            image_size=settings.image_size or 32,
        )
        network_space(text, limits)
    except SpaceError as error:
        return [(_line_of(problem, text or ""), problem) for problem in str(error).splitlines()]
    return []


def _line_of(problem: str, text: str) -> int | None:
    if (found := re.search(r"at line (\d+)", problem)) is not None:
        return int(found[1])
    key = re.match(r"`([^`]+)`|unknown key `?([\w.]+)", problem)
    if key is None:
        return None
    name = rf"[\"']?{re.escape(key[1] or key[2])}[\"']?"
    # As name = ..., name.low = ..., [name], or under [network] with or without the dot.
    entry = re.compile(rf"\s*\[{{0,2}}\s*(?:[\"']?network[\"']?\s*\.\s*)?{name}\s*[=.\]]")
    return next((at for at, line in enumerate(text.splitlines(), 1) if entry.match(line)), None)


def arguments(settings: SearchSettings) -> Iterator[str]:
    """The words of a command line that starts a run with these settings."""
    for name in settings.model_fields_set:
        value, flag = getattr(settings, name), f"--{OPTIONS[name].flag}"
        if isinstance(value, bool):
            if value != SearchSettings.model_fields[name].default:
                yield flag
        elif value is not None:
            yield f"{flag}={time_text(value) if OPTIONS[name].unit == 's' else value}"
