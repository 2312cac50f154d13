"""Wishes to a run: what may be asked, and that the record keeps each of them and its answer."""

from __future__ import annotations

from typing import Any

import pytest

from search.errors import UserError
from search.study.study import RunStudy
from search.study.wishes import Wish, add_wish, answer_wish, wishes_of


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"action": "pause"}, "pause"),
        ({"num_trials": 30, "action": "continue"}, "30 trials, continue"),
        ({"time_budget_s": 7200.0, "num_slots": 1}, "a time budget of 2 h 00 min, 1 slot"),
    ],
)
def test_a_wish_in_words(values: dict[str, Any], words: str) -> None:
    assert Wish(**values).words == words


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "nothing was asked"),
        ({"action": "halt"}, "`action` must be 'pause', 'continue', 'stop' or 'cancel'; got 'halt'"),
        ({"action": "stop", "num_trials": 3}, "stop ends the search, so 3 trials cannot be asked"),
        ({"action": "cancel", "num_slots": 2}, "cancel ends the search, so 2 slots cannot"),
        ({"num_trials": 0}, r"`num_trials` \(--trials\) must be at least 1; got 0"),
        ({"num_trials": 2**63}, r"`num_trials` \(--trials\) must be at most 100000; got 9223372036854775808"),
        ({"num_slots": 1.5}, r"`num_slots` \(--slots\) must be a whole number; got 1.5"),
        ({"trials": 3}, "unknown key `trials`"),
    ],
)
def test_wishes_without_sense_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Wish(**values)
    assert "\n" not in str(caught.value)


def test_the_record_keeps_every_wish_and_its_answer() -> None:
    study = RunStudy.in_memory()
    study.set_note("winner", 3)
    wishes = [Wish(action="pause"), Wish(num_trials=30, time_budget_s=60.5), Wish(num_slots=2, action="continue")]
    asked = [add_wish(study, wish, by=by) for wish, by in zip(wishes, ("anna", "ben", "anna"), strict=True)]
    assert [one.number for one in asked] == [1, 2, 3]
    assert wishes_of(study.notes()) == asked
    answer_wish(study, 2, is_done=False, text="the search is over")
    read = wishes_of(study.notes())
    assert [one.wish for one in read] == wishes
    assert [one.by for one in read] == ["anna", "ben", "anna"]
    assert [one.answer for one in read if one.number != 2] == [None, None]
    assert read[1].answer is not None
    assert (read[1].answer.is_done, read[1].answer.text) == (False, "the search is over")
