"""Which waiting trial goes on, in which order, and how a search by promotion ends."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import combinations
from typing import Any

import pytest
from search_worlds import Rungs, build_searcher, search, sends_to_end, stub, study_of

from search.schedulers.promotion import NUM_FINALISTS, PromotionRule
from search.settings import SearchSettings
from search.space.parameter import Parameter
from search.space.space import SearchSpace
from search.study.record import NewTrial, RungDecision, TrialStatus
from search.study.study import RunStudy
from search.tune.searcher import StudySearcher
from search.tune.trial_scheduler import StudyScheduler

RUNGS = Rungs(max_epochs=9, grace_period=1, reduction_factor=3, scheduler="promotion")  # rungs 1 and 3
SPACE = SearchSpace({"x": Parameter(kind="linear", low=0.0, high=1.0)})


def goes_on(study: RunStudy, number: int, epoch: int) -> None:
    score = study.trial(number).scores[epoch]
    study.record_rung(number, RungDecision(epoch=epoch, score=score, cutoff=0.0, num_scores=3, is_stopped=False))


@pytest.mark.parametrize(("num_scores", "num_due"), [(2, 0), (3, 1), (5, 1), (6, 2)])
def test_one_in_so_many_is_due_best_first(num_scores: int, num_due: int) -> None:
    scores = [0.3, 0.9, 0.1, 0.8, 0.7, 0.2][:num_scores]
    study = study_of(*([score] for score in scores))
    promotions = PromotionRule(RUNGS, study)
    best_first = sorted(range(num_scores), key=lambda number: -scores[number])
    assert [promotions.promote() for _ in range(num_due + 1)] == [*best_first[:num_due], None]
    assert [number for number in best_first if promotions.is_paused(number)] == best_first[num_due:]


def test_a_promotion_is_recorded_with_what_it_took() -> None:
    study = study_of([0.3], [0.9], [0.1], [0.8], [0.7], [0.2])
    assert PromotionRule(RUNGS, study, starts_anew=True).promote() == 1
    assert study.trial(1).rungs == (
        RungDecision(epoch=1, score=0.9, cutoff=0.8, num_scores=6, is_stopped=False, next_epochs=3),
    )
    assert study.trial(1).status is TrialStatus.RUNNING


def test_the_highest_rung_comes_first() -> None:
    study = study_of([0.1, 0.1, 0.4], [0.1, 0.1, 0.6], [0.1, 0.1, 0.5], [0.9])
    for number in range(3):
        goes_on(study, number, 1)
    promotions = PromotionRule(RUNGS, study)
    assert [promotions.promote() for _ in range(3)] == [1, 3, None]


def test_a_trial_between_rungs_or_past_its_decision_does_not_wait() -> None:
    study = study_of([0.9, 0.9], [0.8], [0.7])
    goes_on(study, 0, 1)
    goes_on(study, 1, 1)
    promotions = PromotionRule(RUNGS, study)
    assert [promotions.is_paused(number) for number in range(3)] == [False, False, True]
    assert promotions.promote() is None


def ends(study: RunStudy, promotions: PromotionRule, number: int, score: float) -> None:
    for epoch in range(study.trial(number).epochs_trained + 1, RUNGS.max_epochs + 1):
        study.record_epoch(number, epoch=epoch, score=score, metrics={})
        assert not promotions.reach(number, epoch, score)
    study.finish(number, TrialStatus.COMPLETED, value=score)
    promotions.complete(number)


def test_an_ending_search_brings_its_best_trials_to_full_length_and_stops_the_others() -> None:
    study = study_of([0.5], [0.9], [0.8], [0.7], [0.6, 0.6, 0.6])
    promotions = PromotionRule(RUNGS, study)
    assert [promotions.close(is_in_time=True, num_underway=count) for count in range(4)] == [4, 1, 2, None]
    assert study.trial(1).rungs[0].is_sent_to_end
    ends(study, promotions, 4, 0.65)
    ends(study, promotions, 1, 0.95)
    study.finish(2, TrialStatus.FAILED, error="no luck")
    assert promotions.close(is_in_time=True, num_underway=0) == 3
    ends(study, promotions, 3, 0.8)
    assert promotions.stopped == []
    assert promotions.close(is_in_time=True, num_underway=0) is None
    assert promotions.stopped == [0]
    record = study.trial(0)
    assert record.status is TrialStatus.STOPPED
    assert record.rungs == (RungDecision(epoch=1, score=0.5, cutoff=0.9, num_scores=5, is_stopped=True),)


def test_a_config_over_the_limits_is_no_end_of_the_search() -> None:
    study = RunStudy.in_memory()
    for number, excess in enumerate((1.0, 0.0, 0.0)):
        study.add_trial(NewTrial(config={}, seed=number, violations={"size": excess}))
        study.record_epoch(number, epoch=1, score=0.9 - 0.1 * number, metrics={})
    promotions = PromotionRule(RUNGS, study)
    assert promotions.promote() == 0
    study.finish(0, TrialStatus.COMPLETED, value=0.9)
    promotions.complete(0)
    assert promotions.close(is_in_time=False, num_underway=0) == 1
    assert study.trial(1).rungs[0].cutoff == study.trial(1).rungs[0].score


def test_when_time_ran_out_the_cutoff_is_the_best_of_the_rung() -> None:
    study = study_of([0.5], [0.9], [0.6], [0.7], [0.8], [0.1])
    promotions = PromotionRule(RUNGS, study)
    assert promotions.close(is_in_time=False, num_underway=0) == 1
    ends(study, promotions, 1, 0.95)
    assert promotions.close(is_in_time=False, num_underway=0) is None
    assert {study.trial(number).rungs[0].cutoff for number in (0, 2, 3, 4, 5)} == {0.9}


@pytest.mark.parametrize(
    ("curves", "num_others"),
    [
        ([], 18),  # a doubt of 1/3: as much as half of what the others cost may go into full trainings of 9 epochs
        ([[0.1, 0.2, 0.3]], 36),
        ([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4]], 81),  # 1/4
        ([[0.1, 0.2, 0.3], [0.2, 0.1, 0.4]], 45),  # 3/8, as one of two rungs was wrong
        ([[0.2, 0.3, 0.3], [0.1, 0.2, 0.4], [0.3, 0.4, 0.2]], 18),  # 2/3
    ],
)
def test_the_rungs_are_doubted_as_often_as_they_ranked_full_length_trials_the_wrong_way_round(
    curves: list[list[float]], num_others: int
) -> None:
    for count, is_due in ((num_others - 1, False), (num_others, True)):
        study = study_of(*([early, early, middle, *[middle] * 5, end] for early, middle, end in curves))
        for number, (*_, end) in enumerate(curves):
            study.finish(number, TrialStatus.COMPLETED, value=end)
        assert sends_to_end(study, PromotionRule(RUNGS, study), count) is is_due


@pytest.mark.parametrize("num_trials", [2, 7, 12])
@pytest.mark.parametrize("is_resumed", [False, True])
def test_the_doubt_is_the_same_whether_trials_ended_before_or_since(num_trials: int, is_resumed: bool) -> None:
    chance = random.Random(0)
    curves = [[chance.random() for _ in range(9)] for _ in range(num_trials)]
    num_wrong = sum(
        (one[epoch - 1] - other[epoch - 1]) * (one[-1] - other[-1]) < 0
        for one, other in combinations(curves, 2)
        for epoch in (1, 3)
    )
    doubt = Fraction(2 + num_wrong, 2 * (3 + math.comb(num_trials, 2)))
    cost = 9 * (num_trials + 1)
    num_others = math.ceil(cost / doubt - cost)
    for count, is_due in ((num_others - 1, False), (num_others, True)):
        study = study_of(*curves)
        promotions = PromotionRule(RUNGS, study)
        for number in chance.sample(range(num_trials), num_trials):
            ends(study, promotions, number, 0.0)
        rule = PromotionRule(RUNGS, study) if is_resumed else promotions
        assert sends_to_end(study, rule, count) is is_due


def test_a_trial_sent_to_the_end_is_the_furthest_and_best_and_waits_no_more() -> None:
    study = study_of(*[[0.5]] * 12, [0.3, 0.3, 0.4], [0.4, 0.4, 0.3])
    for number in (12, 13):
        goes_on(study, number, 1)
    promotions = PromotionRule(RUNGS, study, starts_anew=True)
    assert promotions.promote() == 12
    assert study.trial(12).rungs[-1] == RungDecision(
        epoch=3, score=0.4, cutoff=0.4, num_scores=2, is_stopped=False, is_sent_to_end=True, next_epochs=9
    )
    resumed = PromotionRule(RUNGS, study, starts_anew=True)
    assert resumed.promote() == promotions.promote() == 0  # no further full training is due, but one at the first rung
    assert not resumed.reach(12, 4, 0.9)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_main_jobs_defaults_bring_several_trials_to_the_end_and_give_every_one_a_grace_period(
    num_workers: int,
) -> None:
    settings, study = SearchSettings(run_name="main"), RunStudy.in_memory()
    search(study, settings.num_trials, num_workers=num_workers, rungs=settings)
    healthy = [record for record in study.trials() if record.status in (TrialStatus.COMPLETED, TrialStatus.STOPPED)]
    assert sum(record.status is TrialStatus.COMPLETED for record in healthy) >= NUM_FINALISTS
    assert {record.epochs_trained for record in healthy} <= {3, 9, 25}
    assert "seed" in {record.origin for record in healthy}
    assert sum(record.epochs_trained for record in healthy) < 0.4 * settings.num_trials * settings.max_epochs


def test_a_stop_or_an_end_without_its_status_is_made_up_for() -> None:
    study = study_of([0.5], [0.9], [0.1] * 9)
    study.record_rung(0, RungDecision(epoch=1, score=0.5, cutoff=0.9, num_scores=3, is_stopped=True))
    scheduler = StudyScheduler(RUNGS, study)
    assert scheduler.promotions is not None
    assert (study.trial(0).status, study.trial(2).status) == (TrialStatus.STOPPED, TrialStatus.COMPLETED)
    assert [scheduler.promotions.is_paused(number) for number in range(3)] == [False, True, False]
    assert [scheduler.is_over(number) for number in (0, 2)] == [True, True]


def suggested(searcher: StudySearcher, trial_id: str) -> dict[str, Any]:
    assignment = searcher.suggest(trial_id)
    assert isinstance(assignment, dict)
    return assignment


def test_a_trial_that_waits_is_not_over_and_comes_again_with_its_epochs() -> None:
    study = RunStudy.in_memory()
    scheduler = StudyScheduler(RUNGS, study, starts_anew=True)
    searcher = build_searcher(SPACE, study, 0, promotions=scheduler.promotions, num_trials=4)
    proposed = [suggested(searcher, f"t{index}") for index in range(4)]
    for index, assignment in enumerate(proposed):
        report = {"epoch": 1, "val_score": 0.5 - 0.1 * index}
        action = scheduler.on_trial_result(None, stub(f"t{index}", assignment), report)  # type: ignore[arg-type]
        assert (action, scheduler.is_over(index)) == ("STOP", False)
        searcher.on_trial_complete(f"t{index}")
    again = [searcher.suggest(f"t{index}") for index in range(4, 7)]
    lengths = (3, 9, 9)
    assert again == [
        {**assignment, "epochs_recorded": 1, "training_epochs": length}
        for assignment, length in zip(proposed[:3], lengths, strict=True)
    ]
    # The first was due at its rung; the others go to the end, as workers are idle and three trials have to.
    assert [study.trial(number).rungs[-1].is_sent_to_end for number in range(3)] == [False, True, True]
    assert searcher.suggest("t7") is None  # what they will report decides of the fourth


def test_once_time_is_up_only_the_best_goes_on() -> None:
    study = study_of([0.5], [0.9], [0.6], [0.7], [0.8], [0.1])
    scheduler = StudyScheduler(RUNGS, study)
    searcher = build_searcher(SPACE, study, 0, promotions=scheduler.promotions, may_start=lambda: False)
    best = suggested(searcher, "a")
    assert best["trial_number"] == 1
    assert searcher.suggest("b") is None  # what a will reach decides
    actions = [
        scheduler.on_trial_result(None, stub("a", best), {"epoch": epoch, "val_score": 0.9})  # type: ignore[arg-type]
        for epoch in range(2, 10)
    ]
    assert actions == ["CONTINUE"] * 7 + ["STOP"]
    searcher.on_trial_complete("a")
    assert searcher.suggest("b") == "FINISHED"
    assert [record.status for record in study.trials()] == [
        TrialStatus.COMPLETED if number == 1 else TrialStatus.STOPPED for number in range(6)
    ]
