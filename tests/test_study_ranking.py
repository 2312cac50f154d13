"""Which trial wins."""

from __future__ import annotations

from typing import Any

import pytest

from search.study.ranking import rank_trials
from search.study.record import TrialRecord, TrialStatus


def record(number: int, status: str = "completed", scores: tuple[float, ...] = (0.5,), **rest: Any) -> TrialRecord:
    values: dict[str, Any] = {
        "origin": "sampled",
        "seed": number,
        "config": {},
        "params": {},
        "violations": {},
        "profile": {"num_params": rest.pop("num_params", 100)},
        "epoch_metrics": {},
        "rungs": (),
        "error": None,
        "started": None,
        "ended": None,
    }
    curve = dict(enumerate(scores, 1))
    return TrialRecord(number=number, status=TrialStatus(status), scores=curve, **{**values, **rest})


def ranking(*records: TrialRecord) -> list[int]:
    ranked = [trial.number for trial in rank_trials(records)]
    assert [trial.number for trial in rank_trials(records[::-1])] == ranked
    return ranked


def test_the_higher_last_accuracy_wins_not_the_best_one() -> None:
    assert ranking(record(0, scores=(0.9, 0.6)), record(1, scores=(0.5, 0.7))) == [1, 0]


def test_ties_go_to_fewer_parameters_then_to_the_lower_number() -> None:
    tied = [record(0, num_params=300), record(1, num_params=200), record(2, num_params=200)]
    assert ranking(*tied) == [1, 2, 0]


def test_a_stopped_trial_wins_only_if_none_finished() -> None:
    stopped = [
        record(0, "stopped", (0.99,)),
        record(1, "stopped", (0.1, 0.2, 0.3)),
        record(2, "stopped", (0.4, 0.2, 0.4)),
    ]
    assert ranking(*stopped, record(3, scores=(0.1, 0.1, 0.1, 0.2))) == [3, 2, 1, 0]
    assert ranking(*stopped) == [2, 1, 0]


def test_a_trial_over_the_limits_comes_last_whatever_it_scored() -> None:
    over = record(0, scores=(0.99,), violations={"num_params": 1.0, "receptive_field": -4.0})
    kept = record(1, "stopped", (0.1,), violations={"num_params": 0.0, "receptive_field": -4.0})
    assert ranking(over, kept) == [1, 0]
    assert ranking(over) == [0]


@pytest.mark.parametrize("status", ["failed", "diverged", "rejected"])
def test_a_trial_that_ended_badly_never_wins(status: str) -> None:
    assert ranking(record(0, status, (0.99,)), record(1, scores=(0.1,))) == [1]
    assert ranking(record(0, status, (0.99,))) == []
