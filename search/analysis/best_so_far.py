"""The best validation score so far against what the trials cost; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from search.study.record import TrialRecord


class BestSoFar(NamedTuple):
    """One point per epoch, trial after trial in the order of their numbers."""

    costs: list[float]
    """Sum of the costs up to this epoch: epochs or seconds."""
    scores: list[float]
    """Best validation score up to this epoch."""


def best_so_far(records: Sequence[TrialRecord], cost: str = "epochs") -> BestSoFar | None:
    """The curve over `cost`, which is "epochs" or "seconds" of training. None before the first epoch has ended."""
    epochs = [(record, epoch, score) for record in records for epoch, score in record.scores.items()]
    if not epochs:
        return None
    costs = [
        float(record.epochs_spent_on(epoch)) if cost == "epochs" else record.seconds_spent_on(epoch)
        for record, epoch, _ in epochs
    ]
    scores = [score for _, _, score in epochs]
    return BestSoFar(costs=np.cumsum(costs).tolist(), scores=np.maximum.accumulate(scores).tolist())
