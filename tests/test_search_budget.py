"""Whether another trial fits into the time left, and what is told of the time meanwhile."""

from __future__ import annotations

import pytest

from search.display.progress import Progress
from search.schedulers.time_budget import Budget, seconds_per_epoch
from search.study.record import NewTrial, TrialStatus
from search.study.study import RunStudy
from search.text import duration, percent


def study_with(*trials: tuple[float, ...]) -> RunStudy:
    """A record whose trials took so many seconds for each of their epochs."""
    study = RunStudy.in_memory()
    for number, epochs in enumerate(trials):
        study.add_trial(NewTrial(config={}, seed=number))
        for epoch, seconds in enumerate(epochs, 1):
            study.record_epoch(number, epoch=epoch, val_accuracy=0.5, metrics={"seconds": seconds})
    return study


def test_the_slowest_trial_counts() -> None:
    assert seconds_per_epoch(study_with((1.0, 3.0), (4.0,), ()).trials()) == 4.0
    assert seconds_per_epoch(study_with((), ()).trials()) is None


def test_without_a_budget_trials_may_always_start() -> None:
    assert Budget(None, study_with((1e9,)), max_epochs=10, retrain_epochs_of_trial=20).may_start()


def test_a_trial_starts_only_if_it_and_the_retrain_end_in_time() -> None:
    now = 1000.0
    budget = Budget(100.0, study_with((2.0,)), max_epochs=10, retrain_epochs_of_trial=20, clock=lambda: now)
    now = 1040.0
    assert budget.may_start()
    now = 1040.5
    assert not budget.may_start()


def test_the_first_trial_starts_while_nothing_is_known() -> None:
    now = 0.0
    budget = Budget(10.0, RunStudy.in_memory(), max_epochs=10, retrain_epochs_of_trial=20, clock=lambda: now)
    assert budget.may_start()
    now = 10.5
    assert not budget.may_start()


def test_progress_counts_and_foresees() -> None:
    study = study_with((1.0,) * 4, (1.0,) * 2)
    study.finish(0, TrialStatus.COMPLETED, value=0.5)
    study.finish(1, TrialStatus.STOPPED)
    progress = Progress(num_trials=5, max_epochs=4, rung_epochs=(2,), reduction_factor=2, started=100.0)
    assert progress.seconds_left(now=110.0) is None
    for epoch, score in enumerate((0.2, 0.6, 0.4), 1):
        progress.report(2, {"epoch": epoch, "val_accuracy": score, "images_per_s": 7.0})
    assert progress.best == (0.6, 2, 2)
    assert progress.images_per_s == 7.0
    progress.end(study.trial(0))
    progress.end(study.trial(1))
    assert progress.num_ended == 2
    # 3 epochs took 30 s. One trial was seen to pass the rung and one to stop there, so half are expected to pass it: of
    # the two trials to come 3 epochs each, and the one underway, which is past it, to finish.
    assert progress.seconds_left(now=130.0) == pytest.approx(10.0 * (2 * 3 + 1))


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.4, "0 s"), (12, "12 s"), (200, "3 min 20 s"), (3720.4, "1 h 02 min")]
)
def test_durations_read_well(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_percentages_read_well() -> None:
    assert (percent(None), percent(0.8312)) == ("-", "83.12 %")
