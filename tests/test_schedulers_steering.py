"""What people ask of a running search changes when its trials train, never what they score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from run_documents import make_document
from search_worlds import Rungs, score, search, study_of
from test_resume import story

from search.schedulers.steering import Steering
from search.schedulers.time_budget import Budget
from search.study.record import TrialId, TrialStatus
from search.study.study import RunStudy
from search.study.wishes import Answer, AskedWish, Wish

NUM_TRIALS = 14
SCHEDULERS = ("asha", "promotion")


def asked(number: int = 1, *, by: str = "anna", answer: Answer | None = None, **values: Any) -> AskedWish:
    return AskedWish(number=number, wish=Wish(**values), by=by, at=0.0, answer=answer)


def pausing(every: int) -> Callable[[Steering, int], None]:
    """Pauses before one report in `every`, and continues once nothing trains any more."""

    def steer(steering: Steering, num_reports: int) -> None:
        if steering.is_paused and not steering.live:
            steering.obey(asked(action="continue"))
        elif num_reports % every == 0:
            steering.obey(asked(action="pause"))

    return steer


@pytest.mark.parametrize("every", [1, 2, 7])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_pauses_change_nothing(scheduler: Any, every: int) -> None:
    rungs = Rungs(scheduler=scheduler)
    undisturbed, paused, num_pauses = RunStudy.in_memory(), RunStudy.in_memory(), [0]
    search(undisturbed, NUM_TRIALS, rungs=rungs)

    def steer(steering: Steering, num_reports: int) -> None:
        pausing(every)(steering, num_reports)
        num_pauses[0] += steering.is_paused and not steering.live

    search(paused, NUM_TRIALS, rungs=rungs, steer=steer)
    assert num_pauses[0] >= 3
    assert story(paused) == story(undisturbed)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_fewer_and_more_slots_keep_every_trial_and_its_scores(scheduler: Any) -> None:
    study, sides = RunStudy.in_memory(), []

    def steer(steering: Steering, num_reports: int) -> None:
        if num_reports % 10 == 0:
            steering.obey(asked(num_slots=1 + num_reports // 10 % 3))
        sides.append((len(steering.live), steering.num_slots))

    search(study, NUM_TRIALS, num_workers=3, rungs=Rungs(scheduler=scheduler), steer=steer)
    assert {1, 2, 3} <= {live for live, _slots in sides}
    assert any(live > slots for live, slots in sides if slots), "a surplus trial goes on to its next rung"
    records = study.trials()
    assert sum(record.status is not TrialStatus.REJECTED for record in records) == NUM_TRIALS
    assert {record.status for record in records}.isdisjoint({TrialStatus.RUNNING, TrialStatus.INTERRUPTED})
    for record in records:
        assert dict(record.scores) == {epoch: score(record.config, epoch) for epoch in record.scores}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_stopped_search_starts_nothing_and_goes_on_later_as_if_nothing_was(scheduler: Any) -> None:
    rungs, undisturbed, num_cut = Rungs(scheduler=scheduler), RunStudy.in_memory(), 0
    search(undisturbed, NUM_TRIALS, rungs=rungs)
    for stop_at in range(11, 17):
        stopped = RunStudy.in_memory()
        moments: list[int] = []

        def steer(steering: Steering, num_reports: int, stop_at: int = stop_at, moments: list[int] = moments) -> None:
            if num_reports == stop_at:
                steering.obey(asked(action="stop"))
            moments.append(num_reports)

        search(stopped, NUM_TRIALS, rungs=rungs, steer=steer)
        assert max(moments) <= stop_at + 1, "it ends with the epoch that was being trained"
        num_cut += any(record.status is TrialStatus.INTERRUPTED for record in stopped.trials())
        search(stopped, NUM_TRIALS, rungs=rungs)
        assert story(stopped) == story(undisturbed)
    assert num_cut > 2


def test_more_trials_asked_on_the_way_are_the_longer_search() -> None:
    longer, steered = RunStudy.in_memory(), RunStudy.in_memory()
    search(longer, NUM_TRIALS)
    search(steered, 3, steer=lambda steering, num_reports: steering.obey(asked(num_trials=NUM_TRIALS)))
    assert story(steered) == story(longer)


def test_fewer_trials_asked_on_the_way_are_the_shorter_search() -> None:
    shorter, steered = RunStudy.in_memory(), RunStudy.in_memory()
    search(shorter, 6)
    search(steered, NUM_TRIALS, steer=lambda steering, num_reports: steering.obey(asked(num_trials=6)))
    assert story(steered) == story(shorter)


@pytest.mark.parametrize(
    ("wishes", "is_paused", "is_stopped"),
    [
        (["pause"], True, False),
        (["pause", "continue"], False, False),
        (["stop"], False, True),
        (["pause", "stop"], False, True),
        (["stop", "pause", "continue"], False, True),
        (["stop", "continue"], False, False),
        (["stop", 20], False, False),
        (["pause", 20], True, False),
    ],
)
def test_the_last_word_counts(wishes: list[Any], is_paused: bool, is_stopped: bool) -> None:
    steering = Steering(num_trials=9)
    for wish in wishes:
        steering.obey(asked(num_trials=wish) if isinstance(wish, int) else asked(action=wish))
    assert (steering.is_paused, steering.is_stopped) == (is_paused, is_stopped)


def test_an_earlier_processes_wishes_hold_and_those_that_came_to_nothing_do_not() -> None:
    settings = make_document(num_trials=20).settings
    done, in_vain = Answer(is_done=True, text="", at=1.0), Answer(is_done=False, text="too late", at=1.0)
    wishes = [
        asked(1, action="pause", answer=done, by="ben"),
        asked(2, num_slots=1, answer=done),
        asked(3, action="stop", answer=in_vain),
        asked(4, action="continue"),
    ]
    steering = Steering.of(settings, wishes, num_slots=2)
    assert (steering.num_trials, steering.num_slots, steering.is_stopped) == (20, 1, False)
    assert steering.words == "paused by ben, 1 of 2 slots"
    assert Steering.of(settings, [], num_slots=2).words is None
    on_smaller_machine = Steering.of(settings, [asked(1, num_slots=4, answer=done)], num_slots=2)
    assert on_smaller_machine.num_slots == 2


@pytest.mark.parametrize(
    ("wish", "objection"),
    [
        (Wish(num_trials=20), "the search is over"),
        (Wish(time_budget_s=60.0), "the search is over"),
        (Wish(action="stop"), "the search is over"),
        (Wish(action="continue"), "nothing waits"),
        (Wish(action="pause", num_slots=1), None),
        (Wish(action="cancel"), None),
    ],
)
def test_what_comes_after_the_search_is_refused(wish: Wish, objection: str | None) -> None:
    steering = Steering(num_trials=9)
    assert steering.objection(wish, num_started=9) is None
    steering.is_search_over = True
    answer = steering.objection(wish, num_started=9)
    assert answer is objection or (objection is not None and objection in str(answer))


def test_trials_that_have_started_cannot_be_cut() -> None:
    assert Steering(num_trials=9).objection(Wish(num_trials=4), num_started=5) == "5 trials have started already"


def test_a_retraining_waits_after_its_epoch_and_a_trial_at_a_rung() -> None:
    steering = Steering(num_trials=9, num_slots=2)
    steering.live.update({"a": 1, "b": "retrain:winner:0"})
    leaves: list[tuple[TrialId, bool]] = [("retrain:winner:0", False), (1, False), (1, True)]
    assert not any(steering.must_leave(trial, is_at_rung=at_rung) for trial, at_rung in leaves)
    steering.obey(asked(num_slots=1))
    assert [steering.must_leave(trial, is_at_rung=at_rung) for trial, at_rung in leaves] == [True, False, True]
    assert (steering.has_room, steering.num_idle_kept) == (False, 0)


def test_a_pause_does_not_use_up_the_time() -> None:
    now = 100.0
    steering = Steering(num_trials=9, time_budget_s=60.0, clock=lambda: now)
    budget = Budget(steering, study_of([]), max_epochs=1, retrain_epochs=1)
    now = 150.0
    steering.obey(asked(action="pause"))
    now = 900.0
    assert steering.deadline == 910.0
    steering.obey(asked(action="pause"))
    steering.obey(asked(action="continue"))
    now = 909.0
    assert (steering.deadline, budget.may_start()) == (910.0, True)
    now = 911.0
    assert not budget.may_start()
    steering.obey(asked(time_budget_s=100.0))
    assert (steering.deadline, budget.may_start()) == (950.0, True)


def test_slots_grow_with_a_cluster_unless_fewer_were_asked_for() -> None:
    steering = Steering(num_trials=9, num_slots=2)
    steering.grow(4)
    assert (steering.num_slots, steering.most_slots) == (4, 4)
    steering.grow(1)
    assert steering.num_slots == 4, "the trials of a lost node wait for another"
    steering.obey(asked(num_slots=3))
    steering.grow(6)
    assert (steering.num_slots, steering.most_slots) == (3, 6)
    steering.obey(asked(num_slots=6))
    steering.grow(8)
    assert steering.num_slots == 8, "all were asked for"


def test_a_run_that_is_resumed_before_its_nodes_are_back_never_takes_more_slots_than_were_asked_for() -> None:
    done = Answer(is_done=True, text="", at=1.0)
    steering = Steering.of(make_document().settings, [asked(1, num_slots=4, answer=done)], num_slots=2)
    assert steering.num_slots == 2
    steering.grow(8)
    assert (steering.num_slots, steering.most_slots) == (4, 8)
