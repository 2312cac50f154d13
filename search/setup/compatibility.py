"""What decides a run's trials and their scores, kept in its record: whoever takes it up must ask for the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from search.errors import UserError
from search.setup.document import read_space_text
from search.setup.prepare import Preparation
from search.space.space import parse_toml
from search.study.study import RunStudy

_NOTE = "made_with"
_NAMES = {
    "seed": "seed",
    "max_params": "limit --max-params",
    "min_receptive_field": "limit --min-receptive-field",
    "max_epochs": "length --epochs",
    "grace_period": "--grace-period",
    "reduction_factor": "--reduction-factor",
    "scheduler": "--scheduler",
    "audit": "--audit",
    "data": "data set (sha256 of its images)",
    "split": "train/validation split",
    "num_train": "number of training images",
}
_SETTINGS = (
    *("seed", "max_params", "min_receptive_field", "max_epochs", "grace_period", "reduction_factor"),
    *("scheduler", "audit"),
)


def note_made_with(study: RunStudy, preparation: Preparation) -> None:
    """Writes it down before the first trial."""
    study.set_note(_NOTE, _made_with(preparation))


def check_made_with(study: RunStudy, preparation: Preparation) -> None:
    """UserError has a line for each difference; run.toml and space.toml are files that anyone may have edited."""
    earlier = study.notes().get(_NOTE)
    if earlier is None:
        raise UserError(
            "the record does not say what the run was made with: another version began it. Start a new run."
        )
    space = parse_toml(earlier["space"])
    differences = [
        *_value_differences(earlier, _made_with(preparation)),
        *(_space_differences(space, _kept_space(preparation)) or _space_differences(space, _drawn_from(preparation))),
    ]
    if differences:
        lines = (f"the run was made with another {name}: {then} then, {now} now." for name, then, now in differences)
        raise UserError("\n".join(f"{line} Bring the old one back or start a new run." for line in lines))


def _made_with(preparation: Preparation) -> dict[str, Any]:
    settings = preparation.settings
    return {
        **{name: getattr(settings, name) for name in _SETTINGS},
        "data": preparation.data.fingerprint,
        "split": preparation.arrays.split_hash,
        "num_train": len(preparation.arrays.train_indices),
        "space": preparation.space.to_toml(),
    }


def _value_differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key, name in _NAMES.items():
        if earlier.get(key) != now[key]:
            yield name, earlier.get(key), now[key]


def _space_differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    keys = sorted(earlier.keys() | now.keys())
    pairs = ((key, earlier.get(key, "nothing"), now.get(key, "nothing")) for key in keys)
    return [(f"search space, `{key}`", then, is_now) for key, then, is_now in pairs if then != is_now]


def _kept_space(preparation: Preparation) -> dict[str, Any]:
    """The run's space.toml, which is not read where the space is the program's own."""
    return parse_toml(read_space_text(preparation.settings.run_dir))


def _drawn_from(preparation: Preparation) -> dict[str, Any]:
    """The space that the search would draw from now."""
    return parse_toml(preparation.space.to_toml())
