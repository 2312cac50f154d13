"""Whether another trial fits into the time left, and what is told of the time meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from search.schedulers.steering import Steering
from search.schedulers.time_budget import Budget, seconds_per_epoch
from search.study.record import NewTrial
from search.study.study import RunStudy


def study_with(*trials: tuple[float, ...]) -> RunStudy:
    """A record whose trials took so many seconds for each of their epochs."""
    study = RunStudy.in_memory()
    for number, epochs in enumerate(trials):
        study.add_trial(NewTrial(config={}, seed=number))
        for epoch, seconds in enumerate(epochs, 1):
            study.record_epoch(number, epoch=epoch, score=0.5, metrics={"seconds": seconds})
    return study


def lasting(time_budget_s: float, clock: Callable[[], float]) -> Steering:
    return Steering(num_trials=1, time_budget_s=time_budget_s, clock=clock)


def test_the_slowest_trial_counts() -> None:
    assert seconds_per_epoch(study_with((1.0, 3.0), (4.0,), ()).trials()) == 4.0
    assert seconds_per_epoch(study_with((), ()).trials()) is None


def test_without_a_budget_trials_may_always_start() -> None:
    assert Budget(Steering(num_trials=1), study_with((1e9,)), max_epochs=10, retrain_epochs=20).may_start()


def test_a_trial_starts_only_if_it_and_the_retrain_end_in_time() -> None:
    now = 1000.0
    budget = Budget(lasting(100.0, lambda: now), study_with((2.0,)), max_epochs=10, retrain_epochs=20)
    now = 1040.0
    assert budget.may_start()
    now = 1040.5
    assert not budget.may_start()


def test_the_first_trial_that_can_win_starts_even_if_the_preparation_took_all_the_time() -> None:
    study = RunStudy.in_memory()
    steering = Steering(num_trials=2, time_budget_s=10.0, clock=lambda: 1030.0, started=1000.0)
    assert steering.deadline == 1010.0
    budget = Budget(steering, study, max_epochs=10, retrain_epochs=20)
    assert budget.may_start()
    study.add_trial(NewTrial(config={}, seed=0, violations={"parameters": 1.0}))
    assert budget.may_start()
    study.add_trial(NewTrial(config={}, seed=1))
    assert not budget.may_start()
