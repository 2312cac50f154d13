"""Trials as plain values, without a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from search.study.record import RungDecision, TrialRecord, TrialStatus


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
