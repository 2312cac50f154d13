"""From measured configs to others: on the line, and with one measurement that something got in the way of."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

import pytest
from calibrations import IMAGE_S, MULTIPLY_ADDS, OTHER_MULTIPLY_ADDS, calibration_of

from search.forecast.calibration import ASSUMED_FACTORS, Calibration, Speed, epoch_images

CONFIGS = [{"size": macs} for macs in MULTIPLY_ADDS]


def test_measured_configs_are_as_measured_and_others_on_the_line() -> None:
    speeds = tuple(
        Speed(config={"size": macs}, multiply_adds=macs, image_s=seconds, memory_bytes=macs)
        for macs, seconds in ((1_000_000, 0.02), (3_000_000, 0.04))
    )
    calibration = Calibration(speeds=speeds)
    assert calibration.image_s({"size": 3_000_000}, 1) == pytest.approx(0.04)
    assert 0.02 < calibration.image_s({"size": "another"}, 1_800_000) < 0.04
    assert calibration.factors == ASSUMED_FACTORS
    assert calibration.memory_bytes == 3_000_000


def test_multiply_adds_that_say_nothing_give_a_flat_line() -> None:
    calibration = calibration_of([0.03] * 9, CONFIGS)
    assert calibration.image_s({}, 4_000_000) == pytest.approx(calibration.image_s({}, 20_000_000), rel=0.02)


def mean_seconds(image_s: Sequence[float]) -> float:
    """Of an image, where half of what is trained is the first two configs and half any other."""
    calibration = calibration_of(image_s, CONFIGS)
    seconds = [calibration.image_s({"size": macs}, macs) for macs in (*MULTIPLY_ADDS, *OTHER_MULTIPLY_ADDS)]
    return mean(seconds[:2]) + mean(seconds[2:9]) / 2 + mean(seconds[9:]) * mean(calibration.factors) / 2


@pytest.mark.parametrize("index", range(9))
@pytest.mark.parametrize("factor", [30.0, 3.0, 1 / 30])
def test_one_disturbed_measurement_hardly_counts(index: int, factor: float) -> None:
    disturbed = [seconds * (factor if at == index else 1) for at, seconds in enumerate(IMAGE_S)]
    assert mean_seconds(disturbed) == pytest.approx(mean_seconds(IMAGE_S), rel=0.1)


def test_configs_differ_by_no_more_than_was_measured() -> None:
    factors = calibration_of(IMAGE_S, CONFIGS).factors
    assert len(factors) == 9
    assert 0.8 < min(factors) < 1 < max(factors) < 1.25


def test_an_epoch_is_whole_batches() -> None:
    assert epoch_images({"batch_size": 50}, 120) == 100
    assert epoch_images({"batch_size": 512}, 120) == 120
