"""How much a run retrains by default: against the cost of its search."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from model.data import load_training_data
from model.split_images import ImageArrays
from search.schedulers.expected_epochs import expected_epochs
from search.settings import SearchSettings
from search.setup.images import split_images
from search.setup.retrain_size import ALLOWANCE, MOST, RetrainCost, retrain_cost, with_retrain_size


@pytest.fixture(scope="module")
def images() -> ImageArrays:
    data = load_training_data("digits", image_size=16, seed=0, data_dir=Path("data"))
    return split_images(SearchSettings(run_name="run"), data)


def size(images: ImageArrays, num_baselines: int = 2, **settings: Any) -> tuple[int, int]:
    resolved = with_retrain_size(SearchSettings(run_name="run", **settings), images, num_baselines)
    return resolved.retrain_top or 0, resolved.retrain_seeds or 0


def cost(images: ImageArrays, num_top: int, num_seeds: int, num_baselines: int, num_slots: int = 1) -> RetrainCost:
    settings = SearchSettings(run_name="run", retrain_top=num_top, retrain_seeds=num_seeds)
    return retrain_cost(settings, images, num_baselines, num_slots)


def test_the_cost_is_counted_in_epochs_of_a_trial(images: ImageArrays) -> None:
    num_all, num_train = len(images.labels), len(images.train_indices)
    assert cost(images, 1, 1, 2).epochs == pytest.approx(25 * 3 * num_all / num_train)
    assert cost(images, 3, 2, 1).epochs == pytest.approx(25 * 2 * (3 + 2 * num_all / num_train))
    # 10 trainings, of which 6 and then 2 follow each other.
    assert cost(images, 3, 2, 1, num_slots=2).wall_epochs == pytest.approx(25 * 5 * num_all / num_train)
    assert cost(images, 3, 2, 1, num_slots=8).wall_epochs == pytest.approx(25 * 2 * num_all / num_train)
    few = dataclasses.replace(images, train_indices=images.train_indices[:100])
    assert cost(few, 3, 2, 1).epochs == pytest.approx(25 * 2 * (3 * num_train + 2 * num_all) / 100)


def test_there_are_no_more_finalists_than_trials(images: ImageArrays) -> None:
    few, more = (
        SearchSettings(run_name="run", num_trials=4, retrain_top=num_top, retrain_seeds=1) for num_top in (4, 99)
    )
    assert retrain_cost(more, images, 2) == retrain_cost(few, images, 2)


@pytest.mark.parametrize(
    ("num_trials", "num_baselines", "expected"),
    [(20, 2, 1), (20, 0, 2), (30, 0, 2), (110, 2, 3), (500, 2, MOST), (1, 0, 1)],
)
def test_the_largest_size_that_costs_no_more_than_the_search(
    images: ImageArrays, num_trials: int, num_baselines: int, expected: int
) -> None:
    assert size(images, num_baselines, num_trials=num_trials) == (expected, expected)
    settings = SearchSettings(run_name="run", num_trials=num_trials)
    allowed = ALLOWANCE * expected_epochs(settings, num_trials)
    costs = [cost(images, num, num, num_baselines).epochs for num in (expected, expected + 1)]
    assert expected == 1 or costs[0] <= allowed
    assert expected in (MOST, num_trials) or costs[1] > allowed


def test_trials_on_few_images_make_a_cheap_search(images: ImageArrays) -> None:
    few = dataclasses.replace(images, train_indices=images.train_indices[:200])
    assert size(images, num_trials=110) == (3, 3)
    assert size(few, num_trials=110) == (1, 1)


def test_what_was_asked_for_stays_and_the_rest_fits_it(images: ImageArrays) -> None:
    assert size(images, num_trials=20, retrain_top=4, retrain_seeds=6) == (4, 6)
    assert size(images, num_trials=500, retrain_seeds=1) == (MOST, 1)
    assert size(images, num_trials=20, retrain_seeds=9) == (1, 9)
