"""What follows from trials that start anew, with a longer training, when they go on from a rung."""

from __future__ import annotations

import pytest
from search_worlds import Rungs, study_of

from search.schedulers.promotion import PromotionRule
from search.study.record import TrialStatus
from search.tune.trial_scheduler import StudyScheduler

RUNGS = Rungs(max_epochs=9, grace_period=1, reduction_factor=3, scheduler="promotion")  # rungs 1 and 3


@pytest.mark.parametrize("is_resumed", [False, True])
def test_the_score_on_the_way_to_the_end_is_compared_at_no_rung(is_resumed: bool) -> None:
    study = study_of([0.5], [0.4], [0.3])
    promotions = PromotionRule(RUNGS, study, starts_anew=True)
    assert promotions.close(is_in_time=True, num_underway=0) == 0
    for epoch in (2, 3, 4):
        study.record_epoch(0, epoch=epoch, score=0.9, metrics={})
        assert not promotions.reach(0, epoch, 0.9)
    rule = PromotionRule(RUNGS, study, starts_anew=True) if is_resumed else promotions
    assert rule.promote() is None, "one of three scores at the first rung was due, and none is at the second"
    assert rule.training_epochs(study.trial(0)) == 9


@pytest.mark.parametrize("resumed_at", [None, 1, 2, 3])
def test_epochs_trained_again_are_paid_for(resumed_at: int | None) -> None:
    """Nine trainings of one epoch and three of three cost 18, and at first full trainings may cost half as much.

    `resumed_at`: the epoch after which a kill strikes the last of the three; at 1 it has not begun to train again.
    """
    study = study_of(*[[0.5]] * 9)
    rule = PromotionRule(RUNGS, study, starts_anew=True)
    for number in range(3):
        assert rule.promote() == number
        for epoch in (1, 2, 3):
            if epoch > 1:
                study.record_epoch(number, epoch=epoch, score=0.1, metrics={})
                rule.reach(number, epoch, 0.1)
            if (number, epoch) == (2, resumed_at):
                rule = PromotionRule(RUNGS, study, starts_anew=True)
    promoted = rule.promote()
    assert promoted is not None
    assert study.trial(promoted).rungs[-1].is_sent_to_end


@pytest.mark.parametrize("starts_anew", [True, False])
def test_checkpoints_are_kept_through_a_pause_only_if_the_training_goes_on(starts_anew: bool) -> None:
    """Left in place, that of the training to the rung would pass for the newest of the longer one."""
    study = study_of([0.5, 0.5], [0.9], [0.1])
    study.finish(2, TrialStatus.FAILED, error="no luck")
    scheduler = StudyScheduler(RUNGS, study, starts_anew=starts_anew)
    assert [scheduler.needs_checkpoints(number) for number in range(3)] == [True, not starts_anew, False]
    assert scheduler.promotions is not None
    assert scheduler.promotions.promote() == 1
    assert scheduler.needs_checkpoints(1)
