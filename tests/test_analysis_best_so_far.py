"""The best score so far against costs worked out by hand."""

from __future__ import annotations

from trial_records import trial_record

from search.analysis.best_so_far import best_so_far

TRIALS = [trial_record(0, [0.6], seconds=3), trial_record(1, []), trial_record(2, [0.5, 0.7], seconds=1)]


def test_the_curve_goes_through_the_trials_in_turn() -> None:
    curve = best_so_far(TRIALS)
    assert curve is not None
    assert curve.costs == [1, 2, 3]
    assert curve.scores == [0.6, 0.6, 0.7]


def test_seconds_are_summed_up() -> None:
    curve = best_so_far(TRIALS, "seconds")
    assert curve is not None
    assert curve.costs == [3, 4, 5]


def test_there_is_no_curve_before_the_first_epoch() -> None:
    assert best_so_far(TRIALS[1:2]) is None
