"""How many trials run side by side: the rule on made-up speeds, the measurement on real processes."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from model.config import TrainConfig
from model.engine import Engine
from model.network_config import BlockConfig, NetworkConfig
from model.network_source import completed, read_source
from model.recipe import Recipe
from search.errors import UserError
from search.machine import packing
from search.machine.packing import (
    MEASURE_S,
    QUICK_S,
    Packing,
    choose_slots,
    cpu_candidates,
    gpu_candidates,
    measure_packings,
    throughput_processes,
)
from search.settings import SearchSettings

BLOCK = BlockConfig(inner_width=4, width=4)
TINY = TrainConfig(
    network=NetworkConfig(c1=BLOCK, c2=BLOCK, c3=BLOCK, output=BLOCK).flat(), recipe=Recipe(batch_size=8)
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
    assert gpu_candidates(16, 2, most=3) == [(1, 8), (2, 4), (3, 2)]
    assert gpu_candidates(4, 8, most=1) == [(1, 1)]


def test_trials_are_added_until_the_sum_stops_growing() -> None:
    speeds = {1: 100.0, 2: 180.0, 4: 181.0, 8: 500.0}
    asked: list[tuple[int, float]] = []

    def measure(num_trials: int, cpus_per_trial: int, seconds: float) -> Packing:
        asked.append((num_trials, seconds))
        return Packing(num_trials=num_trials, cpus_per_trial=cpus_per_trial, images_per_s=speeds[num_trials])

    best, tried = measure_packings([(1, 8), (2, 4), (4, 2), (8, 1)], measure)
    assert (best.num_trials, best.cpus_per_trial) == (2, 4)
    assert [packing.images_per_s for packing in tried] == [100.0, 180.0, 181.0]
    assert asked == [(1, QUICK_S), (2, QUICK_S), (4, QUICK_S), (2, MEASURE_S), (4, MEASURE_S)], (
        "what is clear at first sight is not measured again, and nothing beyond the first that brings too little"
    )


def test_a_longer_measurement_decides_where_the_first_is_close() -> None:
    def measure(num_trials: int, _cpus_per_trial: int, seconds: float) -> Packing:
        speed = 100.0 if num_trials == 1 else 95.0 if seconds < MEASURE_S else 110.0
        return Packing(num_trials=num_trials, cpus_per_trial=1, images_per_s=speed, seconds=seconds)

    best, tried = measure_packings([(1, 2), (2, 1)], measure)
    assert best.num_trials == 2
    assert [packing.seconds for packing in tried] == [MEASURE_S, MEASURE_S]


def test_trials_that_no_longer_fit_are_not_chosen() -> None:
    one, two = (Packing(num_trials=count, cpus_per_trial=1, images_per_s=200.0 - 100 * count) for count in (1, 2))
    best, _ = measure_packings([(1, 1), (2, 1)], lambda num_trials, _cpus, _seconds: one if num_trials == 1 else two)
    assert best.num_trials == 1


def test_where_no_trial_can_train_one_at_a_time_is_left_with_the_reason() -> None:
    def measure(num_trials: int, _cpus: int, _seconds: float) -> Packing:
        return Packing(num_trials=num_trials, cpus_per_trial=1, images_per_s=0.0, error="CUDA out of memory")

    best, tried = measure_packings([(1, 1), (2, 1), (4, 1)], measure)
    assert (best.num_trials, best.error) == (1, "CUDA out of memory")
    assert tried == [best]


def test_what_a_network_prints_is_no_answer(tmp_path: Path) -> None:
    text = (
        "from torch import nn\n"
        "print(7)\n"
        "def build(config, *, num_classes, image_size):\n"
        "    print('building', image_size)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, num_classes))\n"
    )
    (tmp_path / "prints.py").write_text(text)
    source, modules = read_source(f"{tmp_path / 'prints.py'}:build")
    source = completed(source, modules)
    config = TrainConfig(network={}, recipe=Recipe(batch_size=8))
    with throughput_processes(config, Engine(), image_size=8, network=source) as measure:
        assert measure(1, 1, 0.1).images_per_s > 0


@pytest.mark.parametrize(("batch_size", "expected"), [(16, 16), (512, 128)])
def test_speed_is_measured_with_the_batch_of_the_config_or_a_smaller_one(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, expected: int
) -> None:
    """A step has a fixed cost, so images in small batches take longer."""
    asked: list[int] = []

    @contextlib.contextmanager
    def processes(_num_started: int) -> Iterator[Callable[..., list[dict[str, float]]]]:
        def answer(number: int, request: dict[str, Any], _deadline: float) -> list[dict[str, float]]:
            asked.append(request["config"]["batch_size"])
            return [{"images_per_s": 1.0, "image_s": 1.0, "slowdown": 1.0, "memory_bytes": 1.0}] * number

        yield answer

    monkeypatch.setattr(packing, "measuring_processes", processes)
    config = TrainConfig.from_flat({"batch_size": batch_size})
    with throughput_processes(config, Engine(), image_size=32) as measure:
        measure(1, 1, 0.1)
    assert set(asked) == {expected}


def test_real_processes_train_side_by_side() -> None:
    with throughput_processes(TINY, Engine(), image_size=8) as measure:
        for num_trials in (1, 2):
            measured = measure(num_trials, 1, 0.2)
            assert measured.images_per_s > 0
            assert measured.slowdown >= 1
            # Nothing is faster by the clock than it is in its own computing time.
            assert 0 < measured.image_s <= num_trials / measured.images_per_s
            assert measured.memory_bytes > 10**7


def test_without_time_to_measure_trials_get_a_core_each() -> None:
    start = time.monotonic()
    slots, tried = choose_slots(settings(), Engine(), TINY, num_cpus=4, image_size=8, deadline=start)
    assert (slots.num_concurrent, slots.cpus_per_trial, tried) == (4, 1, [])
    assert time.monotonic() - start < 10


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
