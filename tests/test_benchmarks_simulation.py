"""Simulated time: which report arrives when, on which worker, and what searcher and scheduler are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search import Searcher
from search_worlds import SEED, SPACE, Rungs, build_searcher, reports

from benchmarks.search_quality.simulation import Event, Step, simulate
from search.schedulers.asha import decide
from search.study.record import TrialStatus
from search.study.study import RunStudy
from search.tune.trial_scheduler import StudyScheduler


class Listed(Searcher):
    """Suggests what is in a list, and notes what it is told."""

    def __init__(self, suggestions: list[Any]) -> None:
        super().__init__(metric="score", mode="max")
        self.suggestions = suggestions
        self.told: list[str] = []

    def suggest(self, trial_id: str) -> Any:
        return self.suggestions.pop(0) if self.suggestions else Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.told.append(f"{trial_id} {result['epoch']}")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.told.append(f"{trial_id} ends {result['epoch'] if result else None}")

    def save(self, checkpoint_path: str) -> None: ...
    def restore(self, checkpoint_path: str) -> None: ...


def train(config: Mapping[str, Any]) -> Iterator[Step]:
    for epoch in range(1, config["epochs"] + 1):
        yield Step(seconds=config["epoch_s"], result={"epoch": epoch, "score": config.get("score", 0.0)})


def brief(events: Iterator[Event]) -> list[tuple[float, int, str, int, bool]]:
    return [(event.time_s, event.worker, event.trial_id, event.result["epoch"], event.is_end) for event in events]


def test_reports_arrive_in_the_order_of_time_and_a_free_worker_takes_the_next_trial() -> None:
    searcher = Listed([{"epochs": 2, "epoch_s": 3.0}, {"epochs": 2, "epoch_s": 2.0}, {"epochs": 1, "epoch_s": 1.0}])
    events = brief(simulate(searcher, FIFOScheduler(), train, num_workers=2))  # type: ignore[no-untyped-call]
    assert events == [
        (2.0, 1, "00001", 1, False),
        (3.0, 0, "00000", 1, False),
        (4.0, 1, "00001", 2, True),
        (5.0, 1, "00002", 1, True),
        (6.0, 0, "00000", 2, True),
    ]
    assert searcher.told[-3:] == ["00002 ends 1", "00000 2", "00000 ends 2"]


def test_a_searcher_without_a_suggestion_is_asked_again_after_the_next_report() -> None:
    searcher = Listed([{"epochs": 1, "epoch_s": 5.0}, None, {"epochs": 1, "epoch_s": 1.0}])
    events = brief(simulate(searcher, FIFOScheduler(), train, num_workers=2))  # type: ignore[no-untyped-call]
    assert [(time_s, worker) for time_s, worker, *_ in events] == [(5.0, 0), (6.0, 0)]


@pytest.mark.parametrize(("num_trials", "num_events"), [(0, 0), (2, 2), (None, 4)])
def test_no_more_suggestions_are_taken_than_asked_for(num_trials: int | None, num_events: int) -> None:
    searcher = Listed([{"epochs": 1, "epoch_s": 1.0}] * 4)
    events = list(simulate(searcher, FIFOScheduler(), train, num_workers=3, num_trials=num_trials))  # type: ignore[no-untyped-call]
    assert len(events) == num_events


def test_rays_own_scheduler_stops_trials() -> None:
    scheduler = ASHAScheduler(time_attr="epoch", metric="score", mode="max", max_t=4, grace_period=1)
    scores = [0.9, 0.5, 0.7, 0.95]
    searcher = Listed([{"epochs": 4, "epoch_s": 1.0, "score": score} for score in scores])
    lengths: dict[str, int] = {}
    for event in simulate(searcher, scheduler, train, num_workers=1):
        lengths[event.trial_id] = event.result["epoch"]
    stopped = [decide(1, score, scores[:index], 4).is_stopped for index, score in enumerate(scores)]
    assert stopped == [False, True, True, False]
    assert list(lengths.values()) == [1 if is_stopped else 4 for is_stopped in stopped]


def test_a_study_is_searched_as_in_a_cluster() -> None:
    study, rungs = RunStudy.in_memory(), Rungs()
    searcher = build_searcher(SPACE, study, SEED, max_concurrent=3)
    scheduler = StudyScheduler(rungs, study)

    def train_trial(assignment: Mapping[str, Any]) -> Iterator[Step]:
        return (Step(seconds=1.0, result=result) for result in reports(assignment, rungs))

    events = list(simulate(searcher, scheduler, train_trial, num_workers=3, num_trials=12))
    trained = [record for record in study.trials() if record.status is not TrialStatus.REJECTED]
    assert len(trained) == 12
    assert {record.status for record in trained}.isdisjoint({TrialStatus.RUNNING, TrialStatus.INTERRUPTED})
    assert sum(record.epochs_trained for record in trained) == sum("epoch" in event.result for event in events)
