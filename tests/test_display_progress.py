"""Counts, epochs and time left of a running search, against hand-computed cases and a whole simulated search."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from search_worlds import SEED, SPACE, Rungs, build_searcher, score, training_epochs
from trial_records import stopped_and_failed

from benchmarks.search_quality.simulation import Step, simulate
from search.display.progress import Counts, Progress
from search.schedulers.expected_epochs import expected_epochs
from search.schedulers.promotion import NUM_FINALISTS
from search.schedulers.rungs import rungs_of
from search.study.study import RunStudy
from search.tune.trial_scheduler import StudyScheduler
from search.worker.step_counts import StepCount


def metrics(epoch: int, accuracy: float = 0.3) -> dict[str, Any]:
    return {"epoch": epoch, "val_score": accuracy, "images_per_s": 100.0, "seconds": 5.0}


@pytest.fixture
def study() -> RunStudy:
    """Trial 0 stopped at a rung, trial 1 failed, trial 2 paused at epoch 1, trial 3 cut off between rungs."""
    study = stopped_and_failed(num_trials=4)
    study.record_epoch(2, epoch=1, score=0.5, metrics={})
    study.record_epoch(3, epoch=2, score=0.1, metrics={})
    return study


def test_a_resumed_search_counts_what_came_before(study: RunStudy) -> None:
    progress = Progress(6, 9, 30.0, rung_epochs=(1, 3))
    progress.resume(study.trials())
    assert progress.counts == Counts(started=3, running=0, paused=1, finished=2)
    assert progress.epochs_done == 1 + 1 + 2
    assert progress.best == (0.5, 2, 1)
    assert progress.seconds_left(now=0.0) is None


def test_steps_count_as_fractions_of_epochs(study: RunStudy) -> None:
    progress = Progress(4, 9, 30.0, rung_epochs=(1, 3))
    progress.steps = {0: StepCount(2, 1, 4), 2: StepCount(1, 3, 4)}
    progress.report(0, metrics(1))
    assert progress.underway == {0: 1.25, 2: 0.75}
    assert progress.epochs_done == 2.0
    progress.end(study.trial(0))
    progress.steps = {0: StepCount(1, 4, 4), 2: StepCount(1, 3, 4)}
    assert progress.underway == {2: 0.75}
    progress.report(2, metrics(1))
    assert progress.underway == {2: 1.0}, "the report is newer than the count"


def test_time_left_is_the_epochs_left_at_the_pace_so_far() -> None:
    progress = Progress(4, 9, 20.0, rung_epochs=(1, 3), num_workers=2)
    progress.report(0, metrics(1), now=10.0)  # began at 5.0
    assert progress.seconds_left(now=10.0) is None, "the other worker has not finished an epoch"
    progress.report(1, metrics(1), now=10.0)
    # Two epochs took 5 s on two workers: 5 worker seconds an epoch. 18 of 20 epochs are left.
    assert progress.seconds_left(now=10.0) == pytest.approx(18 * 5 / 2)
    progress.deadline = 30.0
    assert progress.seconds_left(now=10.0) == 20.0


def test_after_the_deadline_what_runs_and_a_first_full_training_are_left() -> None:
    progress = Progress(9, 9, 40.0, rung_epochs=(1, 3), num_workers=2, deadline=20.0)
    for epoch in (1, 2):
        for trial in (0, 1):
            progress.report(trial, {**metrics(epoch), "training_epochs": 3}, now=5.0 + 5.0 * epoch)
    # From 5.0 to 20.0, each epoch took 7.5 s. Both trials train to their rung at 3.
    assert progress.seconds_left(now=20.0) == pytest.approx(7.5 * 1)
    progress.num_finalists = 3  # then one of them trains to the end, anew
    assert progress.seconds_left(now=20.0) == pytest.approx(7.5 * (1 + 9))
    progress.report(0, {**metrics(3), "training_epochs": 9}, now=20.0)
    assert progress.seconds_left(now=20.0) == pytest.approx(15.0 * 2 / 5 * 6), "it has begun"


def test_certain_epochs_count_even_if_more_was_trained_than_expected() -> None:
    progress = Progress(2, 9, 2.0, rung_epochs=(1, 3))
    progress.report(0, metrics(1), now=5.0)
    progress.report(0, metrics(2), now=10.0)
    # Trial 0 trains one more epoch to its rung at 3, and a new trial one to its rung at 1.
    assert progress.epochs_left == 1 + 1
    progress.num_finalists = 1  # and one trains to the end
    assert progress.epochs_left == 1 + 1 + 9


def test_a_trial_takes_no_less_than_its_own_epochs() -> None:
    progress = Progress(1, 9, 9.0, num_workers=4)
    for epoch in range(1, 5):
        progress.report(0, metrics(epoch), now=5.0 * epoch)
    assert progress.seconds_left(now=20.0) == pytest.approx(5 * 20.0)  # 20 worker seconds an epoch, 5 epochs, one trial


@pytest.mark.parametrize("scheduler", ["promotion", "asha"])
def test_a_whole_search_adds_up_and_always_has_time_left(scheduler: Any) -> None:
    rungs, study = Rungs(max_epochs=25, grace_period=3, reduction_factor=6, scheduler=scheduler), RunStudy.in_memory()
    trial_scheduler = StudyScheduler(rungs, study, starts_anew=True)
    promotions = trial_scheduler.promotions
    searcher = build_searcher(SPACE, study, SEED, num_trials=20, max_concurrent=2, promotions=promotions)
    expected = expected_epochs(rungs, 20)
    progress = Progress(
        20, 25, expected, rung_epochs=rungs_of(rungs), num_workers=2, num_finalists=NUM_FINALISTS if promotions else 0
    )

    def train(assignment: Mapping[str, Any]) -> Iterator[Step]:
        for epoch in training_epochs(assignment, rungs):
            values = {**metrics(epoch, score(assignment["config"], epoch)), "seconds": 1.0}
            yield Step(seconds=1.0, result={**values, "training_epochs": assignment.get("training_epochs", 25)})

    seen: set[int] = set()
    told: list[tuple[float, float]] = []
    for num_trained, event in enumerate(simulate(searcher, trial_scheduler, train, num_workers=2), start=1):
        number = event.config["trial_number"]
        seen.add(number)
        progress.report(number, event.result, now=event.time_s)
        if event.is_end:
            progress.end(study.trial(number))
        counts = progress.counts
        assert counts.started == len(seen) == counts.running + counts.paused + counts.finished
        assert progress.epochs_done == num_trained
        left = progress.seconds_left(now=event.time_s)
        if left is not None:
            told.append((event.time_s, left))
            assert left > 0 or not progress.underway
    for number in promotions.stopped if promotions else ():
        progress.end(study.trial(number))
    assert progress.counts == Counts(started=20, running=0, paused=0, finished=20)
    end = told[-1][0]
    assert expected == pytest.approx(progress.epochs_done, rel=0.35)
    half = [moment + left for moment, left in told if moment >= end / 2]
    assert all(0.7 * end < total < 1.5 * end for total in half), half


def test_a_pause_is_no_time_of_training() -> None:
    progress = Progress(4, 9, 20.0, rung_epochs=(1, 3), num_workers=2)
    for trial in (0, 1):
        progress.report(trial, metrics(1), now=10.0)  # both began at 5.0
    progress.employ(0, now=10.0)
    assert progress.seconds_left(now=50.0) is None
    progress.employ(1, now=100.0)
    # 10 worker seconds for two epochs, as before the pause, and now one worker for the 18 epochs that are left.
    assert progress.seconds_left(now=100.0) == pytest.approx(18 * 5)
    progress.report(0, metrics(2), now=105.0)
    assert progress.seconds_left(now=105.0) == pytest.approx(17 * 5)


def test_a_trial_or_retraining_that_has_left_its_worker_does_not_run(study: RunStudy) -> None:
    progress = Progress(4, 9, 30.0, rung_epochs=(1, 3))
    trials: tuple[int | str, ...] = (3, "retrain:winner:0")
    for trial in trials:
        progress.report(trial, metrics(2))
        progress.steps[trial] = StepCount(1, 3, 4)  # of the training that begins anew
    progress.end(study.trial(3))
    progress.wait("retrain:winner:0")
    assert progress.underway == {}
    assert (progress.counts.running, progress.counts.paused) == (0, 2)
