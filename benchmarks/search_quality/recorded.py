"""A table of `benchmarks.record_curves` as the source of a problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.record_curves.fidelities import FULL
from benchmarks.record_curves.plan import is_inside
from benchmarks.record_curves.table import load_table
from search.schedulers.rungs import rungs_of
from search.settings import SearchSettings
from search.space.parameter import Parameter
from search.space.space import SearchSpace

Spec = tuple[Any, ...]


class RecordedCurves:
    """The configs of a table that the default space can draw, with the full training and those that rungs compare.

    A diverged training scores 0.
    """

    def __init__(self, path: Path) -> None:
        """SystemExit if the table lacks a training, or has fewer than two configs with all of them."""
        table = load_table(path)
        num_epochs = table.scores[FULL.name].shape[2]
        rungs = rungs_of(SearchSettings(run_name="recorded", max_epochs=num_epochs))
        names = {**{epochs: f"complete-{epochs}" for epochs in rungs}, num_epochs: FULL.name}
        if missing := [name for name in names.values() if name not in table.scores]:
            raise SystemExit(f"{path.name} has no {' and no '.join(missing)}. Record it (--fidelities).")
        space = SearchSpace.from_toml(table.meta["space"])
        is_usable = np.array([is_inside(space, config) for config in table.configs])
        for name in names.values():
            is_usable &= ~np.isnan(table.seconds[name][:, 0])
        if is_usable.sum() < 2:
            raise SystemExit(f"{path.name}: fewer than two configs are recorded with {' and '.join(names.values())}.")
        self.space = {key: _spec(parameter) for key, parameter in space.parameters.items()}
        self.configs = [{key: table.configs[row][key] for key in self.space} for row in np.flatnonzero(is_usable)]
        self._trainings = {epochs: _scores(table.scores[name], is_usable) for epochs, name in names.items()}
        self.first_rung = min(names)
        self.num_configs, self.num_steps = len(self.configs), num_epochs

    def curve(self, row: int) -> NDArray[np.float64]:
        """Validation accuracy after each epoch of the full training, fractions 0..1."""
        return self.training(row, self.num_steps)

    def training(self, row: int, epochs: int) -> NDArray[np.float64]:
        """The same for a training of as many epochs as a rung has, or the full one."""
        curve: NDArray[np.float64] = self._trainings[epochs][row]
        return curve


def _scores(scores: NDArray[np.float32], is_usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    usable: NDArray[np.float64] = np.nan_to_num(scores[is_usable, 0].astype(float), nan=0.0)
    return usable


def _spec(parameter: Parameter) -> Spec:
    if parameter.kind == "choice":
        return ("choice", list(parameter.values))
    return (parameter.kind, parameter.low, parameter.high)
