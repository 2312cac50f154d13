"""How many finalists and seeds a run retrains: by default as many as cost about what its search costs."""

from __future__ import annotations

from typing import NamedTuple

from model.split_images import ImageArrays
from search.schedulers.expected_epochs import expected_epochs
from search.settings import SearchSettings
from search.study.finals import RetrainPlan

MOST = 5
"""Finalists, and seeds of each, that are worth their time: an interval over more seeds is hardly narrower."""
ALLOWANCE = 1.1
"""The most that the retrainings may cost, in searches."""


class RetrainCost(NamedTuple):
    """All retrainings, in epochs of a trial."""

    epochs: float
    """Their sum."""
    wall_epochs: float
    """Their time, side by side."""


def retrain_cost(settings: SearchSettings, images: ImageArrays, num_baselines: int, num_slots: int = 1) -> RetrainCost:
    """The cost of all retrainings that the settings ask for. `images`: as trials see them."""
    plan, num_all = RetrainPlan.of(settings), len(images.labels)
    num_shown = plan.num_finals * (num_all - len(images.val_indices))
    num_shown += plan.num_seeds * (1 + num_baselines) * num_all
    epochs_per_image = settings.max_epochs / len(images.train_indices)
    return RetrainCost(
        epochs=num_shown * epochs_per_image,
        wall_epochs=plan.num_rounds(num_baselines, num_slots) * num_all * epochs_per_image,
    )


def with_retrain_size(settings: SearchSettings, images: ImageArrays, num_baselines: int) -> SearchSettings:
    """The settings with numbers for `retrain_top` and `retrain_seeds`.

    What is left open becomes the largest n, the same for both, with which the retrainings cost no more than the search
    is expected to; 1 if nothing costs as little.
    """
    allowed = ALLOWANCE * expected_epochs(settings, settings.num_trials)
    for num in range(min(MOST, settings.num_trials), 0, -1):
        sized = settings.changed(retrain_top=settings.retrain_top or num, retrain_seeds=settings.retrain_seeds or num)
        if retrain_cost(sized, images, num_baselines).epochs <= allowed:
            break
    return sized
