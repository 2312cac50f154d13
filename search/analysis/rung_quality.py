"""How well each rung predicted the final ranking; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from search.estimates import rank_correlation
from search.schedulers.rungs import misranked_pairs
from search.study.record import TrialRecord, TrialStatus


class RungQuality(NamedTuple):
    """One rung, judged by the trials that trained to the last epoch; the rungs stopped the weak ones before."""

    epoch: int
    num_trials: int
    correlation: float | None
    """Spearman's rho of the scores at the rung with the final scores, -1..1; None for fewer than two trials."""
    num_wrong: int
    """Pairs of trials that the rung ranked the wrong way round."""
    num_pairs: int


def rung_qualities(records: Sequence[TrialRecord], rungs: Sequence[int], max_epochs: int) -> list[RungQuality]:
    """One entry for each rung epoch in `rungs`."""
    return [_quality(records, epoch, max_epochs) for epoch in rungs]


def _quality(records: Sequence[TrialRecord], epoch: int, max_epochs: int) -> RungQuality:
    curves = [record.rung_scores for record in records if record.status is TrialStatus.COMPLETED]
    pairs = [(curve[epoch], curve[max_epochs]) for curve in curves if {epoch, max_epochs} <= curve.keys()]
    num_wrong, num_pairs = misranked_pairs(records, epoch, max_epochs)
    return RungQuality(
        epoch=epoch,
        num_trials=len(pairs),
        correlation=rank_correlation([early for early, _ in pairs], [final for _, final in pairs]),
        num_wrong=num_wrong,
        num_pairs=num_pairs,
    )
