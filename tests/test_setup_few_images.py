"""Longer trainings where there are few images, and what the run says of that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from search.settings import SearchSettings
from search.setup.few_images import few_images_notes, lengthened_for_few_images
from search.setup.images import val_fraction
from search.space.network_space import network_space
from search.space.space_check import Limits

LIMITS: dict[str, Any] = {"max_params": 1_000_000, "min_receptive_field": 44, "num_classes": 2, "image_size": 32}


@pytest.mark.parametrize(
    ("num_images", "lengths"),
    [(50_000, (25, 3)), (1_000, (25, 3)), (999, (26, 3)), (370, (68, 8)), (100, (100, 12)), (10, (100, 12))],
)
def test_a_training_sees_25_000_images_in_at_most_100_epochs(num_images: int, lengths: tuple[int, int]) -> None:
    settings = lengthened_for_few_images(SearchSettings(run_name="r").resolved(), num_images)
    assert (settings.max_epochs, settings.grace_period) == lengths


def test_lengths_that_were_given_stay(tmp_path: Path) -> None:
    given = SearchSettings(run_name="r", max_epochs=25, results_dir=tmp_path).resolved()
    assert lengthened_for_few_images(given, 100) == given
    with_grace = lengthened_for_few_images(SearchSettings(run_name="r", grace_period=5), 100)
    assert (with_grace.max_epochs, with_grace.grace_period) == (100, 5)


def test_every_change_is_told_with_its_values() -> None:
    asked = SearchSettings(run_name="r")
    space = network_space(None, Limits(**LIMITS), num_train=333)
    epochs, batches = few_images_notes(asked, lengthened_for_few_images(asked, 370), space, 333)
    assert "68 epochs instead of 25" in epochs
    assert "16 or 32" in batches


def test_nothing_is_told_of_what_was_not_changed() -> None:
    asked = SearchSettings(run_name="r")
    assert few_images_notes(asked, asked, network_space(None, Limits(**LIMITS), num_train=45_000), 45_000) == []
    own = network_space("batch_size = 32", Limits(**LIMITS), num_train=333)
    assert few_images_notes(asked, asked, own, 333) == []
    many = network_space("batch_size = 1024", Limits(**LIMITS), num_train=45_000)
    assert few_images_notes(asked, asked, many, 45_000) == []


@pytest.mark.parametrize(
    ("text", "reason", "steps"),
    [
        ("batch_size = 64", "the space sets `batch_size`,", "of 64 an epoch has only 5 steps;"),
        ("batch_size = 512", "the space sets `batch_size`,", "of 512 an epoch has only 1 step;"),
        (
            'batch_size = {kind = "log_int", low = 16, high = 128}',
            "sets `batch_size`,",
            "of 128 an epoch has only 2 steps;",
        ),
        ("muon_lr = 0.1", "the space sets `muon_lr`,", "of 512 an epoch has only 1 step;"),
        (
            'adamw_lr = 0.01\nmuon_lr = {kind = "log", low = 0.1, high = 0.2}',
            "the space sets `muon_lr` and `adamw_lr`,",
            "of 512 an epoch has only 1 step;",
        ),
        ('optimizer = "adamw"\nadamw_lr = 0.01', "the space sets `adamw_lr`,", "of 512 an epoch has only 1 step;"),
        ("adamw_lr = 0.007", "a space was given,", "of 512 an epoch has only 1 step;"),
    ],
)
def test_batches_that_stay_large_are_told_with_the_key_that_keeps_them(text: str, reason: str, steps: str) -> None:
    asked = SearchSettings(run_name="r")
    space = network_space(text, Limits(**LIMITS), num_train=333)
    [note] = few_images_notes(asked, asked, space, 333)
    for words in (reason, steps, "batches of 16 or 32 are searched"):
        assert words in note


@pytest.mark.parametrize(("num_images", "share"), [(50_000, 0.1), (5_000, 0.1), (2_500, 0.2), (1_000, 0.3), (370, 0.3)])
def test_five_hundred_images_are_held_out_and_at_most_three_tenths(num_images: int, share: float) -> None:
    assert val_fraction(num_images) == pytest.approx(share)
