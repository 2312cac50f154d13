"""A few trials: as plain values, and in a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search.study.record import NewTrial, RungDecision, TrialRecord, TrialStatus
from search.study.study import RunStudy


def trial_record(
    number: int,
    scores: Sequence[float],
    status: str = "completed",
    *,
    config: Mapping[str, Any] | None = None,
    seconds: float = 10.0,
    rungs: tuple[RungDecision, ...] = (),
) -> TrialRecord:
    """A trial with its scores from epoch 1 on, each epoch `seconds` long and recorded at its number times 100."""
    return TrialRecord(
        number=number,
        status=TrialStatus(status),
        origin="sampled",
        seed=0,
        config=config or {},
        params={},
        violations={},
        profile={},
        scores=dict(enumerate(scores, 1)),
        epoch_metrics={
            epoch: {"seconds": seconds, "recorded_at": 100.0 * epoch + number} for epoch in range(1, len(scores) + 1)
        },
        rungs=rungs,
        error=None,
        started=None,
        ended=None,
    )


def stopped_and_failed(*, num_trials: int) -> RunStudy:
    """Trial 0 stopped at a rung and trial 1 failed; the others have only started."""
    study = RunStudy.in_memory()
    for _ in range(num_trials):
        study.add_trial(NewTrial(config={}, seed=0))
    study.record_epoch(0, epoch=1, score=0.25, metrics={})
    study.record_rung(0, RungDecision(epoch=1, score=0.25, cutoff=0.5, num_scores=3, is_stopped=True))
    study.finish(0, TrialStatus.STOPPED)
    study.finish(1, TrialStatus.FAILED, error="ValueError: no such layer")
    return study
