"""The recorded curves as one compressed numpy file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class CurveTable:
    """Validation accuracies of C configs for S seeds, by fidelity."""

    meta: dict[str, Any]
    """`settings`, `conditions`, `engine`, `space`, `configs` (flat) and `costs` by fidelity: images trained on, in
    epochs of the full training."""
    scores: dict[str, NDArray[np.float32]]
    """(C, S, epochs of the fidelity), fractions 0..1; NaN where it was not recorded or had diverged."""
    seconds: dict[str, NDArray[np.float32]]
    """(C, S), of one core; NaN where it was not recorded."""

    @property
    def configs(self) -> list[dict[str, Any]]:
        """The configs, flat; row k of every array belongs to config k."""
        configs: list[dict[str, Any]] = self.meta["configs"]
        return configs

    def ends(self, name: str, *, epoch: int | None = None) -> NDArray[np.float64]:
        """(C,): the first seed's score after `epoch` (default: the last); 0 if diverged, NaN if not recorded."""
        scores = self.scores[name][:, 0, -1 if epoch is None else epoch - 1].astype(float)
        return np.where(np.isnan(self.seconds[name][:, 0]), np.nan, np.nan_to_num(scores, nan=0.0))


def make_table(meta: dict[str, Any], rows: Rows, epochs: Mapping[str, int]) -> CurveTable:
    """From finished trainings as `train_missing` yields them. epochs: the length of each fidelity."""
    num_seeds = 1 + max((row["seed"] for row in rows), default=0)
    shape = (len(meta["configs"]), num_seeds)
    scores = {name: np.full((*shape, length), np.nan, np.float32) for name, length in epochs.items()}
    seconds = {name: np.full(shape, np.nan, np.float32) for name in epochs}
    for row in rows:
        place = row["config"], row["seed"]
        scores[row["fidelity"]][place][: len(row["scores"])] = row["scores"]
        seconds[row["fidelity"]][place] = row["seconds"]
    return CurveTable(meta, scores, seconds)


def save_table(path: Path, table: CurveTable) -> None:
    """Writes the table by rename."""
    arrays = {f"scores/{name}": values for name, values in table.scores.items()}
    arrays |= {f"seconds/{name}": values for name, values in table.seconds.items()}
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, meta=np.array(json.dumps(table.meta)), **arrays)
    unfinished.replace(path)


def load_table(path: Path) -> CurveTable:
    """Reads what `save_table` wrote. SystemExit if the file is something else."""
    try:
        with np.load(path) as stored:
            parts: dict[str, dict[str, Any]] = {"scores": {}, "seconds": {}}
            for key in stored.files:
                kind, _, name = key.partition("/")
                if name:
                    parts[kind][name] = stored[key]
            return CurveTable(json.loads(str(stored["meta"])), parts["scores"], parts["seconds"])
    except (OSError, ValueError, KeyError) as error:
        raise SystemExit(f"{path}: no table of recorded curves ({error}). Give one of record_curves.") from None
