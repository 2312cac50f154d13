"""Longer trainings where an epoch has few images, and what a run says of everything it adapted to them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from search.settings import SearchSettings
from search.space.batch_scaling import SCALED_KEYS, scale_batches
from search.space.network_space import default_entries
from search.space.parameter import Parameter
from search.space.space import SearchSpace

MIN_IMAGES_PER_TRAINING = 25_000
"""Images that a full training sees by default, in all its epochs, up to `MAX_EPOCHS`."""
MAX_EPOCHS = 100


def lengthened_for_few_images(settings: SearchSettings, num_images: int) -> SearchSettings:
    """The settings with more epochs where an epoch of `num_images` has few optimizer steps, unless they were given.

    The first rung stands at the same share of the training.
    """
    usual = settings.max_epochs
    if "max_epochs" in settings.model_fields_set or usual * num_images >= MIN_IMAGES_PER_TRAINING:
        return settings
    epochs = min(MAX_EPOCHS, math.ceil(MIN_IMAGES_PER_TRAINING / num_images))
    lengths = {"max_epochs": epochs}
    if "grace_period" not in settings.model_fields_set:
        lengths["grace_period"] = round(settings.grace_period * epochs / usual)
    return settings.changed(**lengths)


def few_images_notes(asked: SearchSettings, settings: SearchSettings, space: SearchSpace, num_train: int) -> list[str]:
    """A line for each change. `asked`: the settings before; `num_train`: training images of a trial."""
    notes = []
    if settings.max_epochs != asked.max_epochs:
        notes.append(
            f"few images: a full training takes {settings.max_epochs} epochs instead of {asked.max_epochs} (--epochs)"
        )
    usual, _ = default_entries()
    scaled = scale_batches(usual, num_train)["batch_size"]
    sizes = space.parameters.get("batch_size")
    if sizes != usual["batch_size"] and sizes == scaled:
        notes.append(
            f"few images: batches of {' or '.join(map(str, sizes.values))} are searched, with learning rates in "
            "proportion (`batch_size` in a --space file)"
        )
    elif scaled != usual["batch_size"] and _largest_batch(space) > max(map(int, scaled.values)):
        notes.append(_unscaled_note(space, usual, scaled, num_train))
    if settings.search_examples is not None:
        part = f"{settings.search_examples:,} of the training images"
        notes.append(f"trials train on {part} (--search-examples); the retrain uses all")
    return notes


def _unscaled_note(space: SearchSpace, usual: Mapping[str, Parameter], scaled: Parameter, num_train: int) -> str:
    # A key that is fixed at its default may be one that nobody set.
    keys = [
        f"`{key}`"
        for key in SCALED_KEYS
        if space.parameters.get(key, usual[key]) != usual[key]
        or space.fixed.get(key, usual[key].default) != usual[key].default
    ]
    reason = f"the space sets {' and '.join(keys)}" if keys else "a space was given"
    largest = _largest_batch(space)
    num_steps = num_train // min(largest, num_train)
    return (
        f"few images: {reason}, so batches and learning rates stay as they are. In batches of {largest} an epoch has "
        f"only {num_steps} step{'s' if num_steps != 1 else ''}; by default, batches of "
        f"{' or '.join(map(str, scaled.values))} are searched"
    )


def _largest_batch(space: SearchSpace) -> int:
    sizes = space.parameters.get("batch_size")
    if sizes is None:
        return int(space.fixed["batch_size"])
    return int(sizes.high) if sizes.high is not None else max(map(int, sizes.values))
