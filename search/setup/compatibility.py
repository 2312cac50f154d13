"""Everything that decides a run's trials and scores, kept in its record: a resumed run must have the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from search.errors import UserError
from search.settings import OPTIONS, SearchSettings
from search.setup.document import DataRecord, read_space_text
from search.space.space import SearchSpace, parse_toml
from search.study.study import RunStudy

_NOTE = "compatibility"
_FLAGS = {name: f"--{option.flag}" for name, option in OPTIONS.items() if option.is_fixed}
_IMAGES = {
    "fingerprint": "the data set (sha256 of its images)",
    "split_hash": "the train/validation split",
    "num_train": "the number of training images",
    "test_fingerprint": "the test split (sha256 of its images)",
}


def note_compatibility(study: RunStudy, settings: SearchSettings, data: DataRecord, space: SearchSpace) -> None:
    """Writes the facts into the record, before the first trial."""
    study.set_note(_NOTE, {**_facts(settings, data), "space": space.to_toml()})


def check_compatibility(study: RunStudy, settings: SearchSettings, data: DataRecord, space: SearchSpace) -> None:
    """UserError has a line for each difference from the record.

    The run's space.toml is checked as well as `space`: without --space nothing else reads it.
    """
    earlier = study.notes().get(_NOTE)
    if earlier is None:
        raise UserError("the record does not say what the run began with, so it cannot be resumed. Start a new run.")
    earlier_space = parse_toml(earlier["space"])
    differences = [
        *_value_differences(earlier, _facts(settings, data)),
        *(
            _space_differences(earlier_space, _kept_space(settings.run_dir))
            or _space_differences(earlier_space, parse_toml(space.to_toml()))
        ),
    ]
    if differences:
        lines = (f"{name} was {then} when the run began and is {now} now" for name, then, now in differences)
        raise UserError("\n".join(f"{line}. Restore it or start a new run." for line in lines))


def _facts(settings: SearchSettings, data: DataRecord) -> dict[str, Any]:
    values = {name: getattr(settings, name) for name in _FLAGS} | {name: getattr(data, name) for name in _IMAGES}
    return {**values, "require": list(settings.require)}  # as the record has it


def _value_differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key, name in {**_FLAGS, **_IMAGES}.items():
        if earlier.get(key) != now[key] and (key in earlier or key != "test_fingerprint"):
            yield name, earlier.get(key), now[key]


def _space_differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    keys = sorted(earlier.keys() | now.keys())
    pairs = ((key, earlier.get(key, "nothing"), now.get(key, "nothing")) for key in keys)
    return [(f"`{key}` in the search space", then, is_now) for key, then, is_now in pairs if then != is_now]


def _kept_space(run_dir: Path) -> dict[str, Any]:
    return parse_toml(read_space_text(run_dir))
