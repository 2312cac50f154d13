"""Which sampler a run uses."""

from __future__ import annotations

from collections.abc import Collection

from search.samplers.proposer import Sampler
from search.samplers.tpe_sampler import TPESampler
from search.samplers.tree_sampler import TreeSampler
from search.space.space import SearchSpace


def make_sampler(space: SearchSpace, *, seed: int, score_epochs: Collection[int] | None) -> Sampler:
    """The tree surrogate, which learns from the scores at `score_epochs`; Optuna's TPE where these are None.

    The last epoch of a full training must be among `score_epochs`.
    """
    if score_epochs is None:
        return TPESampler(space, seed)
    return TreeSampler(space, seed, epochs=score_epochs)
