"""How many epochs a search will train, in closed form from its rungs; pure.

Nobody knows beforehand which trial will be ahead. With promotion the ranks at a rung are taken to hold to the end; if
they do not, more trials are sent to the end. With asha the order at each rung is taken as random; if ranks hold, more
trials pass. Either costs up to half as much again.
"""

from __future__ import annotations

from search.schedulers.promotion import NUM_FINALISTS, PRIOR_PAIRS
from search.schedulers.rungs import RungSettings, reduction_factor_of, rungs_of


def expected_epochs(settings: RungSettings, num_trials: int) -> float:
    """Epochs of all trials of a search together."""
    if settings.scheduler == "promotion":
        return _promotion_epochs(settings, num_trials)
    return _asha_epochs(settings, num_trials)


def least_epochs(settings: RungSettings) -> int:
    """Epochs of the one trial that trains to the end, however early time runs out; with promotion it starts anew."""
    first_rungs = rungs_of(settings)[:1] if settings.scheduler == "promotion" else ()
    return sum(first_rungs) + settings.max_epochs


def _asha_epochs(settings: RungSettings, num_trials: int) -> float:
    """The sum over rungs of the trials that are expected to get there, times the epochs from the rung before."""
    factor = reduction_factor_of(settings)
    total, count, start = 0.0, float(num_trials), 0
    for epoch in rungs_of(settings):
        total += count * (epoch - start)
        count = sum(_pass_chance(number, factor) for number in range(round(count)))
        start = epoch
    return total + count * (settings.max_epochs - start)


def _pass_chance(num_before: int, factor: int) -> float:
    """Chance that a trial passes a rung that holds `num_before` scores, by the expected rank of the cutoff."""
    if num_before == 0:
        return 1.0
    position = (1 - 1 / factor) * (num_before - 1)
    return (num_before - position) / (num_before + 1)


def _promotion_epochs(settings: RungSettings, num_trials: int) -> float:
    """Epochs of the trainings to each rung, then those of the full trainings. Each starts anew."""
    factor, max_epochs = reduction_factor_of(settings), settings.max_epochs
    rungs = rungs_of(settings)
    if not rungs:
        return float(num_trials * max_epochs)
    total: float = sum(epoch * num_trials / float(factor) ** index for index, epoch in enumerate(rungs))
    # At first, full trainings may take 1 / PRIOR_PAIRS of all epochs; see PromotionRule.
    due = total / ((PRIOR_PAIRS - 1) * max_epochs)
    full = min(float(num_trials), max(NUM_FINALISTS, num_trials / float(factor) ** len(rungs), due))
    return total + full * max_epochs
