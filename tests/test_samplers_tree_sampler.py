"""What the trees propose: the same from the same record, within the space and its limits, and better than chance."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from search.samplers.tree_sampler import NEIGHBOUR_DISTANCE, RANDOM_EVERY, TreeSampler
from search.space.parameter import Parameter
from search.space.space import SearchSpace
from search.study.record import TrialRecord, TrialStatus

EPOCHS = (1, 3, 9)
SPACE = SearchSpace(
    {
        "x": Parameter(kind="linear", low=0.0, high=1.0),
        "lr": Parameter(kind="log", low=0.001, high=1.0),
        "width": Parameter(kind="log_int", low=4, high=64),
        "kind": Parameter(kind="choice", values=("a", "b", "c")),
    }
)
LIMITED = SearchSpace(SPACE.parameters, {}, lambda config: {"size": config["x"] - 0.4})
Curve = Callable[[Mapping[str, Any], int], float]


def crossing(params: Mapping[str, Any], epoch: int) -> float:
    """What is best after one epoch, at x = 0.9, is bad after the last, where x = 0.2 and kind b are best."""
    share = (epoch - 1) / (EPOCHS[-1] - 1)
    late = 1 - 2 * (params["x"] - 0.2) ** 2 - 0.3 * (params["kind"] != "b")
    return float((1 - share) * (params["x"] - 0.4) + share * late)


def record(
    number: int, params: Mapping[str, Any], scores: Mapping[int, float], status: TrialStatus = TrialStatus.INTERRUPTED
) -> TrialRecord:
    return TrialRecord(
        number=number, status=status, origin="sampled", seed=0, config=params, params=params, violations={},
        profile={}, scores=scores, epoch_metrics={}, rungs=(), error=None, started=None, ended=None,
    )  # fmt: skip


def records(count: int, curve: Curve = crossing, *, seed: int = 0) -> list[TrialRecord]:
    """Random trials; every third one has come to the second rung, every sixth to the end."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        params = SPACE.draw(rng)
        reached = EPOCHS if number % 6 == 0 else EPOCHS[:2] if number % 3 == 0 else EPOCHS[:1]
        made.append(record(number, params, {epoch: curve(params, epoch) for epoch in reached}))
    return made


def sampler_of(told: list[TrialRecord], space: SearchSpace = SPACE, *, seed: int = 5, **options: Any) -> TreeSampler:
    sampler = TreeSampler(space, seed, epochs=EPOCHS, **options)
    for one in told:
        sampler.add(one.params, space.violations(dict(one.config)))
    for one in told:
        sampler.tell(one)
    return sampler


def foreseen(sampler: TreeSampler, first: int, count: int) -> list[dict[str, Any]]:
    """What the trees propose for these numbers; the record stays as it is."""
    return [sampler.draw(number) for number in range(first, first + count)]


def test_the_same_record_gives_the_same_proposal_however_it_was_told() -> None:
    told = records(31)
    at_once = sampler_of(told)
    bit_by_bit = TreeSampler(SPACE, 5, epochs=EPOCHS)
    for one in told:
        bit_by_bit.add(one.params, {})
        bit_by_bit.tell(record(one.number, one.params, {1: one.scores[1]}))
        bit_by_bit.draw(one.number)
    for one in reversed(told):
        bit_by_bit.tell(one)
    assert foreseen(at_once, 31, 3) == foreseen(bit_by_bit, 31, 3)
    assert foreseen(at_once, 31, 1) != foreseen(sampler_of(told, seed=6), 31, 1)
    assert at_once.draw(31) != at_once.draw(32)


def test_only_scores_at_rungs_and_ends_count() -> None:
    told = records(31)
    between = [record(one.number, one.params, {**one.scores, 5: 0.99}) for one in told]
    assert foreseen(sampler_of(told), 31, 2) == foreseen(sampler_of(between), 31, 2)


def test_every_proposal_can_be_drawn_and_is_new() -> None:
    told = records(30)
    sampler = sampler_of(told)
    for number in range(30, 60):
        params = sampler.draw(number)
        assert set(params) == set(SPACE.parameters)
        assert all(parameter.allows(params[key]) for key, parameter in SPACE.parameters.items())
        assert params not in [one.params for one in told]
        sampler.add(params, {})


def test_the_trees_turn_back_what_is_over_the_limits_however_good() -> None:
    told = [one for one in records(60, lambda params, epoch: params["x"]) if one.params["x"] <= 0.4]
    told = [record(number, one.params, one.scores) for number, one in enumerate(told)]
    sampler = sampler_of(told, LIMITED)
    assert len(told) % RANDOM_EVERY != 0
    assert all(0.2 < params["x"] <= 0.4 for params in foreseen(sampler, len(told), 10))


def test_where_nothing_is_within_the_limits_the_searcher_is_left_to_say_so() -> None:
    told = records(31)
    nowhere = SearchSpace(SPACE.parameters, {}, lambda _config: {"size": 1.0})
    sampler = TreeSampler(nowhere, 5, epochs=EPOCHS)
    for one in told:
        sampler.add(one.params, {})
        sampler.tell(one)
    assert set(sampler.draw(31)) == set(SPACE.parameters)


def test_one_in_four_is_drawn_evenly_and_an_over_limit_one_is_drawn_again() -> None:
    told = records(16 * RANDOM_EVERY)
    sampler = sampler_of(told)
    evenly = [sampler.draw(number)["x"] for number in range(64, 164)]
    assert 0.4 < sum(evenly) / len(evenly) < 0.6
    sampler.add(sampler.draw(64), {"size": 1.0})
    again = [sampler.draw(number)["x"] for number in range(65, 165)]
    assert 0.4 < sum(again) / len(again) < 0.6
    sampler.add(sampler.draw(65), {"size": 0.0})
    forecast = foreseen(sampler, 66, 20)
    assert all(params["x"] < 0.5 for params in forecast)


def test_the_end_is_foreseen_where_the_first_epoch_misleads() -> None:
    drawn = [params for seed in range(4) for params in foreseen(sampler_of(records(61, seed=seed)), 61, 6)]
    at_random = sorted(crossing(SPACE.draw(random.Random(number)), 9) for number in range(400))
    mean = sum(crossing(params, 9) for params in drawn) / len(drawn)
    assert mean > at_random[320]


@pytest.mark.parametrize("status", [TrialStatus.DIVERGED, TrialStatus.FAILED])
def test_what_went_wrong_is_as_bad_as_the_worst(status: TrialStatus) -> None:
    told = []
    for one in records(61, lambda params, epoch: params["x"]):
        bad = one.params["x"] > 0.7
        told.append(record(one.number, one.params, one.scores, status) if bad else one)
    drawn = foreseen(sampler_of(told), 61, 12)
    assert sum(params["x"] < 0.75 for params in drawn) >= 10
    assert sum(params["x"] > 0.4 for params in drawn) >= 10


def test_a_place_where_a_trial_runs_is_left_alone_until_it_has_reported() -> None:
    space = SearchSpace({"x": SPACE.parameters["x"]})
    told = [record(number, {"x": number / 20}, {1: 1 - abs(number / 20 - 0.5)}) for number in range(21)]
    sampler = sampler_of(told, space)
    first = sampler.draw(21)
    sampler.add(first, {"size": 1.0})  # over the limits, so that the next draw is the trees' as well
    sampler.tell(record(21, first, {2: 0.4}))  # no rung: it still runs
    apart = [abs(params["x"] - first["x"]) for params in foreseen(sampler, 21, 12)]
    sampler.tell(record(21, first, {1: 0.999}))
    closer = [abs(params["x"] - first["x"]) for params in foreseen(sampler, 21, 12)]
    assert min(apart) > NEIGHBOUR_DISTANCE / 4 > min(closer)


def test_a_given_trial_outside_the_space_teaches_nothing() -> None:
    told = [record(0, {}, {1: 9.0}, TrialStatus.STOPPED), *records(31)[1:]]
    assert sampler_of(told).draw(31)["x"] <= 1


def test_a_proposal_is_cheap() -> None:
    told = records(300)
    sampler = sampler_of(told)
    sampler.add(SPACE.draw(random.Random(0)), {})
    begin = time.process_time()
    for number in range(301, 304):
        sampler.tell(record(300, {**told[0].params, "x": 0.5}, {1: number / 1000}))
        sampler.draw(number)
    assert (time.process_time() - begin) / 3 < 0.5  # 0.1 on a quiet machine
