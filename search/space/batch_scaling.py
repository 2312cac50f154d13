"""Smaller batches, and learning rates to match, where there are few images: an epoch must have some steps to learn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from search.space.parameter import Parameter

MIN_STEPS_PER_EPOCH = 30
"""Optimizer steps of an epoch at the space's largest batch, if the smallest batch allows it."""
MIN_BATCH_SIZE = 16
SCALED_KEYS = ("batch_size", "muon_lr", "adamw_lr")


def scale_batches(parameters: Mapping[str, Parameter], num_train: int) -> dict[str, Parameter]:
    """The parameters with `batch_size` halved until an epoch of `num_train` images has `MIN_STEPS_PER_EPOCH`.

    No batch becomes smaller than `MIN_BATCH_SIZE`. The rates of Muon and AdamW, whose steps do not grow with the
    gradient, fall by the square root. Parameters without all three as ranges or choices stay as they are.
    """
    if not all(key in parameters for key in SCALED_KEYS) or parameters["batch_size"].kind != "choice":
        return dict(parameters)
    sizes = [int(size) for size in parameters["batch_size"].values]
    halvings = 0
    while max(sizes) >> halvings > num_train / MIN_STEPS_PER_EPOCH and min(sizes) >> (halvings + 1) >= MIN_BATCH_SIZE:
        halvings += 1
    share = math.sqrt(0.5**halvings)
    return {
        **parameters,
        "batch_size": _scaled_choice(parameters["batch_size"], halvings),
        "muon_lr": _scaled_range(parameters["muon_lr"], share),
        "adamw_lr": _scaled_range(parameters["adamw_lr"], share),
    }


def _scaled_choice(sizes: Parameter, halvings: int) -> Parameter:
    default = None if sizes.default is None else int(sizes.default) >> halvings
    return dataclasses.replace(sizes, values=tuple(int(size) >> halvings for size in sizes.values), default=default)


def _scaled_range(rates: Parameter, share: float) -> Parameter:
    assert rates.low is not None
    assert rates.high is not None
    default = None if rates.default is None else float(rates.default) * share
    return dataclasses.replace(rates, low=rates.low * share, high=rates.high * share, default=default)
