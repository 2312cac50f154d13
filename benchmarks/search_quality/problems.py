"""Recorded learning curves as problems to search: a space, a curve for every config, and what counts as found."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_quality.recorded import RecordedCurves
from search.space.parameter import Parameter
from search.space.space import SearchSpace

Params = Mapping[str, Any]
TOP_SHARE = 0.01
NUM_REFERENCE_CONFIGS = 4000
"""Random configs that tell where the best 1 % of a space without a pool begin."""


@dataclass
class Problem:
    """A space of configs with their learning curves, higher being better.

    `source` is `RecordedCurves`, or a `Table` (both a pool of recorded configs) or a task (any config) as
    `curve_tables.py` makes them.
    """

    name: str
    source: Any

    @cached_property
    def space(self) -> SearchSpace:
        """What a search may draw. Where 1 - value is log-uniform, 1 - value is what is drawn."""
        return SearchSpace({key: _parameter(spec) for key, spec in self.source.space.items()})

    @property
    def num_epochs(self) -> int:
        """Length of a full training, the unit of budgets."""
        return int(self.source.num_steps)

    @property
    def starts_anew(self) -> bool:
        """Whether a trial that goes on from a rung starts anew, as in a run; else its one curve goes on."""
        return hasattr(self.source, "training")

    @property
    def first_rung(self) -> int:
        """The epochs of the first rung."""
        return getattr(self.source, "first_rung", 1)

    @property
    def has_pool(self) -> bool:
        """Whether only the recorded configs have curves."""
        return hasattr(self.source, "configs")

    def curve(self, params: Params) -> NDArray[np.float64]:
        """The score after epoch 1..num_epochs. With a pool, `params` are those of one of its rows."""
        if self.has_pool:
            return np.asarray(self.source.curve(self._row_of[_key(params)]))
        return np.asarray(self.source.curve(self._config(params)), dtype=float)

    def training(self, params: Params, epochs: int) -> NDArray[np.float64]:
        """The scores of a training of this length."""
        if self.starts_anew:
            return np.asarray(self.source.training(self._row_of[_key(params)], epochs))
        return self.curve(params)[:epochs]

    @cached_property
    def final_scores(self) -> NDArray[np.float64]:
        """Of the whole pool, or of many random configs."""
        if self.has_pool:
            return np.array([self.source.curve(row)[-1] for row in range(self.source.num_configs)])
        return np.array([self.curve(params)[-1] for params in _draws(self.space, NUM_REFERENCE_CONFIGS)])

    @cached_property
    def top_score(self) -> float:
        """The final score from which on a config is among the best 1 %."""
        count = max(1, round(TOP_SHARE * len(self.final_scores)))
        return float(np.sort(self.final_scores)[-count])

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The pool's configs as a search would have drawn them."""
        return [self._params(config) for config in self.source.configs]

    @cached_property
    def row_features(self) -> NDArray[np.float64]:
        """The pool's configs as points of the unit cube."""
        return np.array([self.features(params) for params in self.rows])

    def features(self, params: Params) -> NDArray[np.float64]:
        """A point of the unit cube; each value of a choice is a coordinate of its own."""
        return np.concatenate([_coordinates(spec, params[key]) for key, spec in self.source.space.items()])

    @cached_property
    def _row_of(self) -> dict[Any, int]:
        return {_key(params): row for row, params in enumerate(self.rows)}

    def _config(self, params: Params) -> dict[str, Any]:
        kinds = {key: spec[0] for key, spec in self.source.space.items()}
        return {key: 1 - params[key] if kind == "log_one_minus" else params[key] for key, kind in kinds.items()}

    def _params(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The inverse of `_config`, moved into the space's bounds where rounding put it outside."""
        params = self._config(config)
        for key, spec in self.source.space.items():
            if spec[0] != "choice":
                params[key] = min(max(params[key], spec[1]), spec[2])
        return params


class Pool:
    """The rows of a problem's pool that one search has not used yet."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._is_used = np.zeros(len(problem.rows), dtype=bool)

    def left(self) -> list[dict[str, Any]]:
        """The rows not used yet."""
        return [row for row, is_used in zip(self._problem.rows, self._is_used, strict=True) if not is_used]

    @property
    def is_empty(self) -> bool:
        """Whether every row is used."""
        return bool(self._is_used.all())

    def take_nearest(self, params: Params) -> dict[str, Any]:
        """The unused row nearest to what was drawn; it is used from now on."""
        assert not self.is_empty
        distances = ((self._problem.row_features - self._problem.features(params)) ** 2).sum(axis=1)
        row = int(np.argmin(np.where(self._is_used, np.inf, distances)))
        self._is_used[row] = True
        return self._problem.rows[row]


def load_problems(folder: Path, names: list[str] | None = None) -> list[Problem]:
    """All problems of a folder with a `curve_tables.py`, or those named.

    A table of `benchmarks.record_curves` is one problem, named like its file.
    """
    if folder.suffix == ".npz":
        return [_recorded(folder, name) for name in names or [folder.stem]]
    module = _load_module(folder / "curve_tables.py")
    problems = [Problem(name, module.Table(name)) for name in module.TABLES if not names or name in names]
    if hasattr(module, "LCBench"):
        tasks = [task for task in module.LCBench.TASKS if not names or task in names]
        problems += [Problem(task, module.LCBench(task)) for task in tasks]
    return problems


def misled(problem: Problem, *, share: float, seed: int) -> Problem:
    """The same configs and ends, but the first `share` of each training is that of another config."""
    source = problem.source
    rng = np.random.default_rng(seed)
    shuffled = _Shuffled(source, rng.permutation(source.num_configs), round(share * source.num_steps))
    return Problem(f"{problem.name} (shuffled until {share:.0%})", shuffled)


class _Shuffled:
    def __init__(self, source: Any, order: NDArray[np.int64], num_shuffled: int) -> None:
        self.space, self.configs = source.space, source.configs
        self.num_configs, self.num_steps = source.num_configs, source.num_steps
        self._source, self._order, self._num_shuffled = source, order, num_shuffled

    def curve(self, row: int) -> NDArray[np.float64]:
        early = self._source.curve(self._order[row])[: self._num_shuffled]
        return np.concatenate([early, self._source.curve(row)[self._num_shuffled :]])


def _recorded(path: Path, name: str) -> Problem:
    if name != path.stem:
        raise SystemExit(f"--problems {name}: the table is named {path.stem}. Give {path.stem}.")
    return Problem(name, RecordedCurves(path))


def _load_module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("curve_tables", path)
    if spec is None or spec.loader is None or not path.exists():
        raise SystemExit(f"--tables: {path.parent} holds no curve_tables.py. Give a folder that does.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _parameter(spec: tuple[Any, ...]) -> Parameter:
    if spec[0] == "choice":
        return Parameter(kind="choice", values=tuple(spec[1]))
    kind = "log" if spec[0] == "log_one_minus" else spec[0]
    return Parameter(kind=kind, low=spec[1], high=spec[2])


def _coordinates(spec: tuple[Any, ...], value: Any) -> list[float]:
    if spec[0] == "choice":
        return [float(value == known) for known in spec[1]]
    kind, low, high = spec
    if "log" in kind:
        low, high, value = math.log(low), math.log(high), math.log(value)
    return [(value - low) / (high - low)]


def _draws(space: SearchSpace, count: int) -> list[dict[str, Any]]:
    import random

    rng = random.Random(0)
    return [space.draw(rng) for _ in range(count)]


def _key(params: Params) -> tuple[Any, ...]:
    return tuple(sorted(params.items()))
