"""How well rungs predicted the end, worked out by hand."""

from __future__ import annotations

import pytest
from trial_records import trial_record

from search.analysis.rung_quality import RungQuality, rung_qualities


def test_rungs_are_judged_by_the_trials_that_reached_the_end() -> None:
    records = [
        trial_record(0, [0.1, 0.3, 0.5]),
        trial_record(1, [0.2, 0.2, 0.6]),
        trial_record(2, [0.3, 0.1, 0.7]),
        trial_record(3, [0.9, 0.9], "stopped"),
    ]
    first, second = rung_qualities(records, (1, 2), 3)
    assert (first.epoch, first.num_trials, first.num_wrong, first.num_pairs) == (1, 3, 0, 3)
    assert (second.epoch, second.num_trials, second.num_wrong, second.num_pairs) == (2, 3, 3, 3)
    assert [first.correlation, second.correlation] == pytest.approx([1, -1])


def test_a_tie_is_not_ranked_wrong() -> None:
    [quality] = rung_qualities([trial_record(0, [0.2, 0.5]), trial_record(1, [0.2, 0.6])], (1,), 2)
    assert quality == RungQuality(1, 2, None, 0, 1)


def test_without_full_length_trials_there_is_nothing_to_judge_by() -> None:
    assert rung_qualities([], (1,), 9) == [RungQuality(1, 0, None, 0, 0)]
