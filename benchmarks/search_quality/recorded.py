"""A table of `benchmarks.record_curves` as the source of a problem."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.record_curves.fidelities import FULL
from benchmarks.record_curves.plan import is_inside
from benchmarks.record_curves.table import load_table
from search.space.parameter import Parameter
from search.space.space import SearchSpace

Spec = tuple[Any, ...]


class RecordedCurves:
    """The configs of a table that the default space can draw, with the full training's curves.

    With a fidelity, each curve begins with that cheaper training, an epoch for each full epoch's worth of images, and
    then the full training starts anew. A diverged training scores 0.
    """

    def __init__(self, path: Path, fidelity: str | None) -> None:
        """SystemExit if the table lacks the fidelity, or has fewer than two configs with it."""
        table = load_table(path)
        names = [name for name in (FULL.name, fidelity) if name]
        for name in names:
            if name not in table.scores:
                raise SystemExit(f"{path.name} has no fidelity {name!r}. Known: {', '.join(table.scores)}.")
        space = SearchSpace.from_toml(table.meta["space"])
        is_usable = np.array([is_inside(space, config) for config in table.configs])
        for name in names:
            is_usable &= ~np.isnan(table.seconds[name][:, 0])
        if is_usable.sum() < 2:
            raise SystemExit(f"{path.name}: fewer than two configs are recorded with {' and '.join(names)}.")
        self.space = {key: _spec(parameter) for key, parameter in space.parameters.items()}
        self.configs = [{key: table.configs[row][key] for key in self.space} for row in np.flatnonzero(is_usable)]
        curves = _scores(table.scores[FULL.name], is_usable)
        self.num_full_epochs = curves.shape[1]
        if fidelity:
            cost = math.ceil(table.meta["costs"][fidelity])
            curves = np.concatenate([_thinned(_scores(table.scores[fidelity], is_usable), cost), curves], axis=1)
        self._curves = curves
        self.num_configs, self.num_steps = curves.shape

    def curve(self, row: int) -> NDArray[np.float64]:
        """Validation accuracy after each epoch, fractions 0..1."""
        curve: NDArray[np.float64] = self._curves[row]
        return curve


def _scores(scores: NDArray[np.float32], is_usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    usable: NDArray[np.float64] = np.nan_to_num(scores[is_usable, 0].astype(float), nan=0.0)
    return usable


def _thinned(scores: NDArray[np.float64], num_steps: int) -> NDArray[np.float64]:
    """The scores at `num_steps` evenly spaced epochs, the last among them."""
    epochs = np.arange(1, num_steps + 1) * scores.shape[1] // num_steps
    thinned: NDArray[np.float64] = scores[:, np.maximum(epochs, 1) - 1]
    return thinned


def _spec(parameter: Parameter) -> Spec:
    if parameter.kind == "choice":
        return ("choice", list(parameter.values))
    return (parameter.kind, parameter.low, parameter.high)
