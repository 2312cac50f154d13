"""The settings of a run: a value for each option, checked together, and what follows from them."""

from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import Any, Self, get_args

from pydantic import model_validator

from search.paths import sqlite_url
from search.run_options import RunOptions, Scheduler

REDUCTION_FACTORS: dict[Scheduler, int] = {"promotion": 6, "asha": 3}
"""The best factor for each scheduler in benchmarks/search_quality."""
RECORD_VERSION = 4
"""The version of what a run writes. Raise it when the meaning changes; runs of another version are refused."""


class SearchSettings(RunOptions):
    """The settings of one run."""

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if self.grace_period > self.max_epochs and "grace_period" in self.model_fields_set:
            raise ValueError(
                f"`grace_period` must be at most `max_epochs`; got grace_period {self.grace_period} with max_epochs "
                f"{self.max_epochs}. Lower --grace-period or raise --epochs"
            )
        if self.network is not None and self.require and "require" in self.model_fields_set:
            raise ValueError("`require` is for the built-in networks. Leave out --require or --network")
        return self

    def changed(self, **values: Any) -> SearchSettings:
        """A copy with other values, checked as new settings are. Defaults stay known as defaults."""
        return type(self)(**{**{name: getattr(self, name) for name in self.model_fields_set}, **values})

    def resolved(self) -> SearchSettings:
        """A copy with the defaults that depend on other values."""
        values: dict[str, Any] = {"reduction_factor": self.reduction_factor or REDUCTION_FACTORS[self.scheduler]}
        if self.grace_period > self.max_epochs:
            values["grace_period"] = self.max_epochs
        if self.network is not None:
            values["require"] = ()
            if "min_receptive_field" not in self.model_fields_set:
                values["min_receptive_field"] = 0
        return self.changed(**values)

    @property
    def run_dir(self) -> Path:
        """The run's folder."""
        return self.results_dir / self.run_name

    @property
    def storage_url(self) -> str:
        """The SQLAlchemy URL of the record."""
        return self.storage or sqlite_url(self.run_dir / "study.db")


OPTIONS = SearchSettings.options()
"""What the command line says of each field, by the field's name."""


def kind_of(name: str) -> Any:
    """The type of a field, None left out."""
    annotation: Any = SearchSettings.model_fields[name].annotation
    parts = get_args(annotation)
    return parts[0] if NoneType in parts else annotation
