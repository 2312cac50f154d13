"""What scores cannot tell: rungs at chance, and ends that differ by less than their noise."""

from __future__ import annotations

import pytest
from ray.tune.schedulers import TrialScheduler
from search_worlds import Rungs, sends_to_end, stub, study_of

from search.schedulers.promotion import PromotionRule
from search.study.record import NewTrial, RungDecision, TrialStatus
from search.study.study import RunStudy
from search.tune.trial_scheduler import StudyScheduler

RUNGS = Rungs(max_epochs=9, grace_period=1, reduction_factor=3, scheduler="promotion")  # rungs 1 and 3


def reach(study: RunStudy, rule: PromotionRule, number: int, epoch: int, score: float) -> None:
    """A trial trains an epoch, and the rule hears of it."""
    if number == study.num_trials:
        study.add_trial(NewTrial(config={"x": 0.5}, seed=number))
    study.record_epoch(number, epoch=epoch, score=score, metrics={})
    rule.reach(number, epoch, score)


@pytest.mark.parametrize("is_resumed", [False, True])
def test_all_trials_go_on_from_a_rung_where_several_are_all_at_chance(is_resumed: bool) -> None:
    study = study_of([0.5], [0.6])
    rule = PromotionRule(RUNGS, study, chance_level=0.61, starts_anew=True)
    assert rule.promote() is None, "two scores are too few to tell"
    reach(study, rule, 2, 1, 0.4)
    rule = PromotionRule(RUNGS, study, chance_level=0.61, starts_anew=True) if is_resumed else rule
    assert [rule.promote() for _ in range(4)] == [0, 1, 2, None]
    assert study.trial(2).rungs == (
        RungDecision(epoch=1, score=0.4, cutoff=None, num_scores=3, is_stopped=False, is_at_chance=True, next_epochs=3),
    )


def test_one_score_above_chance_makes_the_rung_decide_again() -> None:
    study = study_of([0.1], [0.1], [0.5])
    rule = PromotionRule(RUNGS, study, chance_level=0.11)
    assert [rule.promote() for _ in range(2)] == [2, None]
    assert not study.trial(2).rungs[0].is_at_chance


def test_a_trial_that_went_on_from_a_rung_at_chance_pauses_at_the_next() -> None:
    study = study_of([0.1], [0.1], [0.1])
    rule = PromotionRule(RUNGS, study, chance_level=0.11)
    assert rule.promote() == 0
    for epoch, score in ((2, 0.1), (3, 0.4)):
        reach(study, rule, 0, epoch, score)
    assert rule.is_paused(0)
    assert PromotionRule(RUNGS, study, chance_level=0.11).is_paused(0)


@pytest.mark.parametrize(("error", "num_others"), [(0.04, 54), (0.03, 45), (None, 45)])
def test_pairs_of_equal_ends_say_nothing_of_the_rungs(error: float | None, num_others: int) -> None:
    """One of two rungs ranks them the wrong way round; standard errors of 0.04 each do not tell 0.50 from 0.55."""
    for count, is_due in ((num_others - 1, False), (num_others, True)):
        study = study_of()
        for number, (early, middle, end) in enumerate([[0.1, 0.2, 0.5], [0.2, 0.1, 0.55]]):
            study.add_trial(NewTrial(config={"x": 0.5}, seed=number))
            for epoch, score in enumerate([early, early, middle, *[middle] * 5, end], start=1):
                study.record_epoch(number, epoch=epoch, score=score, metrics={"val_error": error} if error else {})
            study.finish(number, TrialStatus.COMPLETED, value=end)
        assert sends_to_end(study, PromotionRule(RUNGS, study), count) is is_due


def report(scheduler: StudyScheduler, number: int, score: float) -> str:
    """The answer to a trial's first epoch."""
    trial = stub(str(number), {"trial_number": number})
    return scheduler.on_trial_result(None, trial, {"epoch": 1, "val_score": score})  # type: ignore[arg-type]


def test_asha_stops_no_trial_at_a_rung_where_several_are_all_at_chance() -> None:
    study = RunStudy.in_memory()
    rungs = StudyScheduler(Rungs(max_epochs=3, reduction_factor=2), study, chance_level=0.13)
    answers = []
    for number, score in enumerate((0.12, 0.11, 0.1, 0.5, 0.1)):
        study.add_trial(NewTrial(config={}, seed=number))
        answers.append(report(rungs, number, score))
    assert answers == [TrialScheduler.CONTINUE] * 4 + [TrialScheduler.STOP]
    at_chance = [any(rung.is_at_chance for rung in record.rungs) for record in study.trials()]
    assert at_chance == [False, True, True, False, False]
