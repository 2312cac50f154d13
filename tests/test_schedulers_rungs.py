"""Where trials are compared and who goes on, against integer powers and Ray's own ASHA."""

from __future__ import annotations

import random

import numpy as np
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler
from ray.tune.schedulers.async_hyperband import _Bracket
from search_worlds import Rungs, stub

from search.schedulers.asha import decide
from search.schedulers.rungs import RungTable, misranked_pairs, rung_epochs, rungs_of
from search.study.record import NewTrial, TrialStatus
from search.study.study import RunStudy
from search.tune.trial_scheduler import StudyScheduler


@pytest.mark.parametrize("grace_period", [1, 2, 3, 5])
@pytest.mark.parametrize("reduction_factor", [2, 3, 4])
def test_rungs_are_the_grace_period_times_powers_below_the_end(grace_period: int, reduction_factor: int) -> None:
    powers = [grace_period * reduction_factor**power for power in range(12)]
    for max_epochs in range(grace_period, 300):
        expected = tuple(epoch for epoch in powers if epoch < max_epochs)
        assert rung_epochs(grace_period, reduction_factor, max_epochs) == expected


def test_the_last_power_is_not_lost_to_rounding() -> None:
    assert rung_epochs(1, 3, 244) == (1, 3, 9, 27, 81, 243)
    assert rung_epochs(1, 3, 243) == (1, 3, 9, 27, 81)
    assert rung_epochs(3, 3, 25) == (3, 9)
    assert rung_epochs(5, 3, 5) == ()


def test_the_first_at_a_rung_goes_on() -> None:
    decision = decide(3, 0.0, [], 3)
    assert (decision.cutoff, decision.num_scores, decision.is_stopped) == (None, 1, False)


def test_a_score_at_the_cutoff_goes_on() -> None:
    assert not decide(1, 0.5, [0.5, 0.5], 3).is_stopped
    assert decide(1, np.nextafter(0.5, 0), [0.5, 0.5], 3).is_stopped


def test_by_promotion_the_rungs_stand_the_same_whatever_share_goes_on() -> None:
    shares = (2, 3, 6)
    asha = [rungs_of(Rungs(max_epochs=25, reduction_factor=share)) for share in shares]
    promotion = [rungs_of(Rungs(max_epochs=25, reduction_factor=share, scheduler="promotion")) for share in shares]
    assert asha == [(1, 2, 4, 8, 16), (1, 3, 9), (1, 6)]
    assert promotion == [(1, 3, 9)] * 3


@pytest.mark.parametrize("reduction_factor", [2, 3, 4])
def test_decisions_are_those_of_rays_bracket(reduction_factor: int) -> None:
    rng = random.Random(reduction_factor)
    bracket = _Bracket(1, 4, reduction_factor, 0)
    recorded: list[float] = []
    for index in range(200):
        score = rng.choice([rng.random(), round(rng.random(), 1)])
        action = bracket.on_result(stub(str(index), {}), 1, score)  # type: ignore[arg-type]
        assert decide(1, score, recorded, reduction_factor).is_stopped == (action == TrialScheduler.STOP)
        recorded.append(score)


@pytest.mark.parametrize("rungs", [Rungs(), Rungs(max_epochs=25, grace_period=3), Rungs(reduction_factor=2)])
def test_a_whole_search_stops_as_with_rays_scheduler(rungs: Rungs) -> None:
    """Reports of 40 trials, interleaved at random; both schedulers hear the same until either stops a trial."""
    rng = random.Random(5)
    study = RunStudy.in_memory()
    ours = StudyScheduler(rungs, study)
    theirs = AsyncHyperBandScheduler(
        time_attr="epoch",
        metric="val_score",
        mode="max",
        max_t=rungs.max_epochs,
        grace_period=rungs.grace_period,
        reduction_factor=rungs.reduction_factor,
    )
    trials = [stub(str(number), {"trial_number": number}) for number in range(40)]
    for _ in trials:
        study.add_trial(NewTrial(config={}, seed=0))
    for trial in trials:
        theirs.on_trial_add(None, trial)  # type: ignore[arg-type]
    epochs = dict.fromkeys(range(len(trials)), 0)
    num_stopped = 0
    while epochs:
        number = rng.choice(list(epochs)[:4])
        epochs[number] += 1
        report = {"epoch": epochs[number], "val_score": rng.random()}
        action = ours.on_trial_result(None, trials[number], report)  # type: ignore[arg-type]
        assert action == theirs.on_trial_result(None, trials[number], report)  # type: ignore[arg-type]
        if action == TrialScheduler.STOP:
            num_stopped += epochs.pop(number) < rungs.max_epochs
    statuses = [record.status for record in study.trials()]
    assert statuses.count(TrialStatus.STOPPED) == num_stopped > 10
    assert statuses.count(TrialStatus.COMPLETED) == 40 - num_stopped > 0


def test_misranked_pairs_are_those_whose_order_turned_between_rung_and_end() -> None:
    study = RunStudy.in_memory()
    for early, end in ((0.1, 0.9), (0.2, 0.8), (0.3, 0.7), (0.4, 0.95), (0.3, 0.7)):
        number = study.add_trial(NewTrial(config={}, seed=0))
        study.record_epoch(number, epoch=1, score=early, metrics={})
        study.record_epoch(number, epoch=4, score=end, metrics={})
        study.finish(number, TrialStatus.COMPLETED, value=end)
    stopped = study.add_trial(NewTrial(config={}, seed=0))
    study.record_epoch(stopped, epoch=1, score=0.5, metrics={})
    study.finish(stopped, TrialStatus.STOPPED)
    # By hand: the first three fall as they rise (3 pairs), the fifth equals the third (2 more); ties count as right.
    assert misranked_pairs(study.trials(), 1, 4) == (5, 10)
    assert misranked_pairs(study.trials(), 2, 4) == (0, 0)


def test_the_table_ranks_by_score_and_then_by_number() -> None:
    table = RungTable((1, 3))
    for number, score in ((5, 0.2), (1, 0.9), (4, 0.9), (2, 0.5)):
        table.add(number, 1, score)
    assert table.ranked(1) == [1, 4, 2, 5]
    assert table.ranked(3) == []
    with pytest.raises(KeyError):
        table.add(1, 2, 0.5)
