"""Smaller batches, and rates to match, where there are few images."""

from __future__ import annotations

import math
from typing import Any

import pytest

from search.space.batch_scaling import scale_batches
from search.space.network_space import default_entries, network_space
from search.space.parameter import Parameter
from search.space.space_check import Limits

LIMITS: dict[str, Any] = {"max_params": 1_000_000, "min_receptive_field": 44, "num_classes": 4, "image_size": 32}


@pytest.mark.parametrize(
    ("num_train", "sizes"),
    [
        (45_000, (256, 512)),
        (15_360, (256, 512)),
        (15_359, (128, 256)),
        (7_000, (64, 128)),
        (960, (16, 32)),
        (20, (16, 32)),
    ],
)
def test_batches_are_halved_until_an_epoch_has_30_steps_or_the_smallest_has_16_images(
    num_train: int, sizes: tuple[int, ...]
) -> None:
    usual, _ = default_entries()
    scaled = scale_batches(usual, num_train)
    share = sizes[0] / 256
    assert scaled["batch_size"].values == sizes
    assert scaled["batch_size"].default == sizes[0]
    for key in ("muon_lr", "adamw_lr"):
        for bound in ("low", "high", "default"):
            assert getattr(scaled[key], bound) == pytest.approx(math.sqrt(share) * getattr(usual[key], bound))
    changed = {"batch_size", "muon_lr", "adamw_lr"}
    assert {key: value for key, value in scaled.items() if key not in changed} == {
        key: value for key, value in usual.items() if key not in changed
    }


def test_parameters_without_choices_of_batches_stay() -> None:
    usual, _ = default_entries()
    for sizes in (None, Parameter(kind="int", low=100, high=600)):
        parameters = {key: value for key, value in usual.items() if key != "batch_size"}
        if sizes is not None:
            parameters["batch_size"] = sizes
        assert scale_batches(parameters, 300) == parameters


@pytest.mark.parametrize(
    "line",
    [
        "batch_size = 128",
        'muon_lr = {kind = "log", low = 0.05, high = 0.1}',
        'base = "none"\nc2_kind = "depthwise_separable"\nc3_kind = "dilated"',
    ],
)
def test_a_file_that_names_batches_or_rates_keeps_them(line: str) -> None:
    text = f'{line}\nwarmup_fraction = {{kind = "linear", low = 0.1, high = 0.2}}'
    assert network_space(text, Limits(**LIMITS), num_train=300) == network_space(text, Limits(**LIMITS))


def test_other_changes_of_a_file_leave_the_scaling() -> None:
    space = network_space("flip = false", Limits(**LIMITS), num_train=300)
    assert space.parameters["batch_size"].values == (16, 32)
    # The run's copy of the space is read without the images.
    assert network_space(space.to_toml(), Limits(**LIMITS)) == space
