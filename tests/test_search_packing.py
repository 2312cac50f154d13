"""How many trials fill the machine: the rule on made-up speeds, and the measurement on real processes."""

import pytest

from model.config import BlockConfig, TrainConfig
from model.engine import Engine
from search.packing import choose_slots, cpu_candidates, gpu_candidates, measure_packings, throughput_processes
from search.settings import SearchSettings, UserError

TINY = TrainConfig(
    c1=BlockConfig(inner_width=4, width=4),
    c2=BlockConfig(inner_width=4, width=4),
    c3=BlockConfig(inner_width=4, width=4),
    output=BlockConfig(inner_width=4, width=4),
    batch_size=8,
)


@pytest.mark.parametrize(
    ("num_cpus", "expected"),
    [
        (1, [(1, 1)]),
        (2, [(1, 2), (2, 1)]),
        (6, [(1, 6), (2, 3), (4, 1), (6, 1)]),
        (8, [(1, 8), (2, 4), (4, 2), (8, 1)]),
    ],
)
def test_cpu_candidates_go_from_one_trial_to_one_core_each(num_cpus: int, expected: list[tuple[int, int]]) -> None:
    assert cpu_candidates(num_cpus) == expected


def test_gpu_candidates_share_the_cores() -> None:
    assert gpu_candidates(16, 2) == [(1, 8), (2, 4), (4, 2), (8, 1)]


def test_trials_are_added_until_the_sum_stops_growing() -> None:
    speeds = {1: 100.0, 2: 180.0, 4: 181.0, 8: 500.0}
    asked: list[int] = []

    def measure(num_trials: int, cpus_per_trial: int) -> float:
        asked.append(num_trials)
        return speeds[num_trials]

    best, tried = measure_packings([(1, 8), (2, 4), (4, 2), (8, 1)], measure)
    assert (best.num_trials, best.cpus_per_trial) == (2, 4)
    assert [packing.images_per_s for packing in tried] == [100.0, 180.0, 181.0]
    assert asked == [1, 2, 4], "nothing is measured beyond the first that brings too little"


def test_trials_that_no_longer_fit_are_not_chosen() -> None:
    best, _ = measure_packings([(1, 1), (2, 1)], lambda num_trials, _cpus: 100.0 if num_trials == 1 else 0.0)
    assert best.num_trials == 1


def test_real_processes_train_side_by_side() -> None:
    with throughput_processes(TINY, Engine(), image_size=8) as measure:
        assert measure(1, 1) > 0
        assert measure(2, 1) > 0


def settings(**values: object) -> SearchSettings:
    return SearchSettings(run_name="r", **values)  # type: ignore[arg-type]


def test_given_cores_are_used_unmeasured() -> None:
    slots, tried = choose_slots(settings(cpus_per_trial=2), Engine(), TINY, num_cpus=5, image_size=8)
    assert (slots.num_concurrent, slots.cpus_per_trial, tried) == (2, 2, [])


def test_given_trials_per_gpu_are_used_unmeasured() -> None:
    slots, tried = choose_slots(
        settings(gpus=2, trials_per_gpu=4), Engine(device="cuda"), TINY, num_cpus=16, image_size=8
    )
    assert (slots.num_concurrent, slots.cpus_per_trial, slots.gpus_per_trial, tried) == (8, 2, 0.25, [])


def test_more_cores_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match=r"--cpus-per-trial 9: this machine has 4\. Ask for 4 or fewer"):
        choose_slots(settings(cpus_per_trial=9), Engine(), TINY, num_cpus=4, image_size=8)
