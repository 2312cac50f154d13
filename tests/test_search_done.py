"""A search ends early only where what is left to gain drowns in the noise, and a killed one ends at the same trial."""

from __future__ import annotations

import math
import pickle

import pytest
from search_worlds import Rungs, search
from test_search_resume import Killed, WatchedStorage, dies_after, story

from search.analysis.wording import done_words
from search.schedulers.done import Done, StopWhenDone, done_in, judge, validation_noise
from search.study.ranking import rank_trials
from search.study.study import NewTrial, RungDecision, RunStudy, TrialStatus

NUM_TRIALS = 60
PROMOTION = Rungs(scheduler="promotion")


def searched(num_val: int, *, num_trials: int = NUM_TRIALS) -> RunStudy:
    study = RunStudy.in_memory()
    search(study, num_trials, rungs=PROMOTION, is_done=StopWhenDone(study, num_trials=num_trials, num_val=num_val))
    return study


def study_with(*curves: list[float], num_full: int = 4) -> RunStudy:
    """Trials one after another; those that trained `num_full` epochs are completed, the others wait."""
    study = RunStudy.in_memory()
    for number, curve in enumerate(curves):
        study.add_trial(NewTrial(config={"x": number}, seed=number))
        for epoch, accuracy in enumerate(curve, 1):
            study.record_epoch(number, epoch=epoch, val_accuracy=accuracy, metrics={})
        if len(curve) == num_full:
            study.finish(number, TrialStatus.COMPLETED, value=curve[-1])
    return study


def full(accuracy: float) -> list[float]:
    return [0.9, 0.1, 0.9, accuracy]


@pytest.mark.parametrize(("accuracy", "num_val"), [(0.5, 400), (0.9, 100), (1.0, 50), (0.0, 50)])
def test_the_noise_is_the_spread_of_repeated_draws(accuracy: float, num_val: int) -> None:
    noise = validation_noise(accuracy, num_val)
    assert noise > 0
    assert noise == pytest.approx(math.sqrt(accuracy * (1 - accuracy) / num_val), abs=1 / num_val)


@pytest.mark.parametrize(
    ("curves", "is_done"),
    [
        ([], False),
        ([full(0.8), full(0.7), full(0.8)], True),
        ([full(0.8), full(0.7)], False),  # too few
        ([full(0.8), full(0.7), full(0.83)], True),  # the noise is 0.04
        ([full(0.8), full(0.7), full(0.85)], False),
        ([full(0.8), full(0.85), full(0.7)], False),  # the second one ends in the second half
        ([full(0.85), full(0.8), full(0.7)], True),
        ([[0.5]] * 4 + [full(0.8), full(0.8)], False),  # two are too few
        ([[0.5]] * 7 + [full(0.8), full(0.8), full(0.8)], False),  # none ended in the first half
        ([full(0.8)] * 2 + [[0.99]] * 8 + [full(0.7)], True),  # what has not ended may only seem better
    ],
)
def test_the_last_half_of_all_epochs_must_win_less_than_the_noise(curves: list[list[float]], is_done: bool) -> None:
    done = judge(study_with(*curves).trials(is_running=True), num_trials=20, num_val=100)
    assert (done is not None) == is_done


def test_the_verdict_says_what_the_last_half_won_and_what_ending_saves() -> None:
    study = study_with(full(0.8), full(0.7), full(0.83))
    study.add_trial(NewTrial(config={}, seed=9), is_rejected=True)
    done = judge(study.trials(), num_trials=20, num_val=100)
    assert done is not None
    assert (done.num_started, done.epochs_saved) == (3, 17 * 4)
    assert done.gain == pytest.approx(0.03)
    assert done.noise == validation_noise(0.83, 100)


def test_an_audited_trial_is_no_end_to_judge_by() -> None:
    study = study_with(full(0.8), full(0.8), [0.1, 0.1, 0.1])
    audit = RungDecision(epoch=3, score=0.1, cutoff=0.5, num_scores=3, is_stopped=True, is_audited=True)
    study.record_rung(2, audit)
    study.record_epoch(2, epoch=4, val_accuracy=0.1, metrics={})
    study.finish(2, TrialStatus.COMPLETED, value=0.1)
    assert judge(study.trials(), num_trials=20, num_val=100) is None


def test_a_verdict_stands_until_more_trials_are_asked_for() -> None:
    study = study_with(full(0.8), full(0.8), full(0.8))
    assert StopWhenDone(study, num_trials=20, num_val=100)()
    study.add_trial(NewTrial(config={}, seed=3))
    for epoch in range(1, 5):
        study.record_epoch(3, epoch=epoch, val_accuracy=0.99, metrics={})
    study.finish(3, TrialStatus.COMPLETED, value=0.99)
    assert StopWhenDone(study, num_trials=20, num_val=100)()
    assert not StopWhenDone(study, num_trials=30, num_val=100)()
    assert done_in(study.notes(), 30) is None


def test_a_search_ends_early_where_the_rest_is_noise_and_not_where_it_is_not() -> None:
    whole, early = searched(10**9), searched(50)
    done = done_in(early.notes(), NUM_TRIALS)
    assert done is not None
    assert done_in(whole.notes(), NUM_TRIALS) is None
    num_epochs = [sum(record.epochs_trained for record in study.trials()) for study in (whole, early)]
    assert num_epochs[1] < 0.7 * num_epochs[0]
    best = [rank_trials(study.trials())[0].val_accuracies[9] for study in (whole, early)]
    assert best[1] > best[0] - 2 * done.noise


def test_a_search_that_is_killed_is_done_at_the_same_trial() -> None:
    storage = WatchedStorage()
    left_by_kill: list[bytes] = []
    storage.before_write = lambda: left_by_kill.append(pickle.dumps(storage))
    study = RunStudy(storage, "run")
    search(study, NUM_TRIALS, rungs=PROMOTION, is_done=StopWhenDone(study, num_trials=NUM_TRIALS, num_val=50))
    for kill in range(len(left_by_kill) // 2, len(left_by_kill), 29):
        left: WatchedStorage = pickle.loads(left_by_kill[kill])
        left.before_write = dies_after(40)
        for lifetime in (40, 10**6):
            left.before_write = dies_after(lifetime)
            again = RunStudy(left, "run")
            try:
                rule = StopWhenDone(again, num_trials=NUM_TRIALS, num_val=50)
                search(again, NUM_TRIALS, rungs=PROMOTION, is_done=rule)
            except Killed:
                pass
        assert story(again) == story(study)
        assert done_in(again.notes(), NUM_TRIALS) == done_in(study.notes(), NUM_TRIALS)


def test_what_was_saved_is_told() -> None:
    done = Done(num_trials=100, num_started=40, gain=0.0031, noise=0.0062, epochs_saved=300)
    words = done_words(done)
    assert "after 40 of 100 trials" in words
    assert (
        "the last half of its training had won 0.31 points of validation accuracy, less than the noise of 0.62" in words
    )
    assert "saved about 300 epochs" in words
