"""A search ends early only where what is left to gain drowns in the noise, and a killed one ends at the same trial."""

from __future__ import annotations

import math
import pickle

import pytest
from search_worlds import Rungs, search
from test_search_resume import Killed, WatchedStorage, dies_after, story

from search.done import NUM_IN_A_ROW, Done, StopWhenDone, done_in, judge, validation_noise
from search.result_words import done_words
from search.selection import rank_trials
from search.study import NewTrial, RunStudy

NUM_TRIALS = 60
PROMOTION = Rungs(scheduler="promotion")


def searched(num_val: int, *, num_trials: int = NUM_TRIALS) -> RunStudy:
    study = RunStudy.in_memory()
    search(study, num_trials, rungs=PROMOTION, is_done=StopWhenDone(study, num_trials=num_trials, num_val=num_val))
    return study


def study_with(*gains: float | None) -> RunStudy:
    """A trial of one epoch, 80 % right, for each expected gain."""
    study = RunStudy.in_memory()
    for number, gain in enumerate(gains):
        study.add_trial(NewTrial(config={"x": number}, seed=number, expected_gain=gain))
        study.record_epoch(number, epoch=1, val_accuracy=0.8, metrics={})
    return study


@pytest.mark.parametrize(("accuracy", "num_val"), [(0.5, 400), (0.9, 100), (1.0, 50), (0.0, 50)])
def test_the_noise_is_the_spread_of_repeated_draws(accuracy: float, num_val: int) -> None:
    noise = validation_noise(accuracy, num_val)
    assert noise > 0
    assert noise == pytest.approx(math.sqrt(accuracy * (1 - accuracy) / num_val), abs=1 / num_val)


@pytest.mark.parametrize(
    ("gains", "is_done"),
    [
        ([], False),
        ([None] * 6, False),
        ([0.1, 0.0001, 0.0001], False),
        ([0.1, 0.0001, None, 0.0001, 0.0001], True),
        ([0.0001, 0.0001, 0.1], False),
        ([0.1, 0.1, 0.041, 0.039, 0.039], False),  # the noise is 0.04
        ([0.1, 0.1, 0.039, 0.039, 0.039], True),
    ],
)
def test_the_last_proposals_must_all_promise_less_than_the_noise(gains: list[float | None], is_done: bool) -> None:
    records = study_with(*gains).trials()
    assert (judge(records, num_trials=20, num_val=100) is not None) == is_done


def test_rejected_configs_count_for_nothing() -> None:
    study = study_with(0.1, 0.0001, 0.0001)
    study.add_trial(NewTrial(config={}, seed=9, expected_gain=0.0001), is_rejected=True)
    assert judge(study.trials(), num_trials=20, num_val=100) is None


def test_a_verdict_stands_until_more_trials_are_asked_for() -> None:
    study = study_with(*[0.0001] * NUM_IN_A_ROW)
    assert StopWhenDone(study, num_trials=20, num_val=100)()
    study.add_trial(NewTrial(config={}, seed=3, expected_gain=0.5))
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
    done = Done(num_trials=100, num_started=40, expected_gain=0.0031, noise=0.0062, epochs_saved=300)
    words = done_words(done)
    assert "after 40 of 100 trials" in words
    assert "another was expected to gain 0.31 points of validation accuracy, less than its noise of 0.62" in words
    assert "saved about 300 epochs" in words
