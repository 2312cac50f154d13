"""Who is next and on which devices: priority, then device time lately, then age; no big run is overtaken for ever."""

from __future__ import annotations

from typing import Any

import pytest

from search.machine.slots import Slots
from search.service.fewer_devices import fits, kept, needed
from search.service.queue import HALF_LIFE_S, Devices, decayed, in_order, next_to_start, shortage, that_fit
from search.service.store import RunEntry


def entry(name: str, owner: str = "a", *, created: float = 0.0, gpus: int = 0, cores: int = 1, **more: Any) -> RunEntry:
    return RunEntry(
        name=name, owner=owner, request={}, arguments=(), num_gpus=gpus, cores=cores, created=created, **more
    )


def names(entries: list[RunEntry]) -> str:
    return "".join(one.name for one in entries)


def test_the_oldest_of_equals_is_first() -> None:
    assert names(in_order([entry("b", created=2), entry("a", created=1)], {})) == "ab"


def test_the_owner_with_the_least_device_time_is_before_an_older_run() -> None:
    waiting = [entry("a", "greedy", created=1), entry("b", "modest", created=2), entry("c", "new", created=3)]
    assert names(in_order(waiting, {"greedy": 100.0, "modest": 1.0})) == "cba"


def test_priority_is_before_everything() -> None:
    assert (
        names(in_order([entry("a", created=1), entry("b", "greedy", created=2, priority=1)], {"greedy": 9.0})) == "ba"
    )


def test_device_time_halves_in_a_day_and_never_grows() -> None:
    assert decayed(8.0, HALF_LIFE_S) == 4.0
    assert decayed(8.0, 3 * HALF_LIFE_S) == 1.0
    assert decayed(8.0, -HALF_LIFE_S) == 8.0  # the clock was set back


def test_a_run_gets_devices_that_nobody_holds() -> None:
    free = Devices(("0", "1", "2"), (0, 1, 2, 3)).without([{"gpus": ["1"], "cores": [0]}, {}])
    assert free == Devices(("0", "2"), (1, 2, 3))
    found = next_to_start([entry("a", gpus=2, cores=2)], free, now=0.0)
    assert found is not None
    assert found[1] == Devices(("0", "2"), (1, 2))


@pytest.mark.parametrize(("cores", "expected"), [(1, None), (2, "big"), (3, "big")])
def test_a_small_run_does_not_overtake_a_big_one_that_waits_for_the_same(cores: int, expected: str | None) -> None:
    found = next_to_start([entry("big", cores=2), entry("small")], Devices((), tuple(range(cores))), now=0.0)
    assert (found and found[0].name) == expected


def test_a_run_without_gpus_starts_beside_one_that_waits_for_a_gpu() -> None:
    waiting = [entry("gpu", gpus=1, cores=1), entry("cpu", cores=1)]
    found = next_to_start(waiting, Devices((), (0, 1)), now=0.0)
    assert found is not None
    assert found[0].name == "cpu"


def test_a_run_that_all_devices_are_too_few_for_holds_nobody_up() -> None:
    devices = Devices(("0",), (0, 1))
    waiting = [entry("cores", cores=3), entry("gpus", gpus=2), entry("all", gpus=1, cores=2)]
    assert next_to_start(waiting, devices, now=0.0) is None
    found = next_to_start(that_fit(waiting, devices), devices, now=0.0)
    assert found is not None
    assert found[0].name == "all"


@pytest.mark.parametrize(
    ("needs", "expected"),
    [
        ({"gpus": 4}, "needs 4 GPUs, and there are 2"),
        ({"cores": 2}, "needs 2 CPU cores, and there is 1"),
        ({"gpus": 2}, ""),
    ],
)
def test_of_devices_that_there_are_not_a_run_says_how_many(needs: dict[str, Any], expected: str) -> None:
    assert shortage(entry("a", **needs), Devices(("0", "1"), (0,))) == expected


def test_a_run_that_died_waits_and_holds_nobody_up() -> None:
    waiting = [entry("died", not_before=10), entry("next")]
    found = next_to_start(waiting, Devices((), (0,)), now=5.0)
    assert found is not None
    assert found[0].name == "next"
    assert next_to_start(waiting, Devices((), (0,)), now=11.0) == (waiting[0], Devices((), (0,)))


@pytest.mark.parametrize(
    ("gpus", "cores", "per_gpu", "cpus_per_trial", "num_slots", "expected"),
    [
        (4, 8, 2, 1, 8, (4, 8)),
        (4, 8, 2, 1, 5, (3, 6)),  # the fifth trial needs half of a GPU
        (4, 8, 3, 1, 3, (1, 2)),  # three thirds are one
        (2, 5, 1, 1, 1, (1, 3)),
        (0, 8, 0, 2, 3, (0, 6)),
        (1, 8, 0, 2, 1, (0, 2)),  # it asked for a GPU and trains without
    ],
)
def test_fewer_trials_side_by_side_need_fewer_devices(
    gpus: int, cores: int, per_gpu: int, cpus_per_trial: int, num_slots: int, expected: tuple[int, int]
) -> None:
    slots = Slots(
        num_concurrent=8, cpus_per_trial=cpus_per_trial, gpus_per_trial=1 / per_gpu if per_gpu else 0.0, gpus=gpus
    )
    run = entry("a", gpus=gpus, cores=cores)
    assert needed(run, slots, num_slots) == expected
    left = entry("a", gpus=expected[0], cores=expected[1])
    assert fits(left, slots, num_slots)
    assert not fits(left, slots, num_slots + max(1, per_gpu)), "more would need another GPU or another core"


def test_a_run_keeps_the_first_of_its_devices_and_gives_the_others_back() -> None:
    held = {"gpus": ["2", "3"], "cores": [4, 5, 6, 7]}
    assert kept(entry("a", gpus=2, cores=4, devices=held)) is None
    assert kept(entry("a", gpus=1, cores=2, devices=held)) == Devices(("2",), (4, 5))
    assert kept(entry("a", gpus=2, cores=3, devices=held)) == Devices(("2", "3"), (4, 5, 6))
