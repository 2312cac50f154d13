"""What a forecast needs to know of a prepared run."""

from __future__ import annotations

import random
import time

from model.profile import profile_network
from search.forecast.forecast import Workload
from search.setup.preparation import Preparation

_NUM_TYPICAL_CONFIGS = 16
"""Random configs whose size the forecast looks at."""


def workload_of(preparation: Preparation, *, started: float) -> Workload:
    """The facts for the forecast of a run that began at `started`, by time.monotonic()."""
    space, rng = preparation.space, random.Random(0)
    configs = [space.typical_config()]
    for _ in range(_NUM_TYPICAL_CONFIGS):
        config = space.draw(rng)
        if all(excess <= 0 for excess in space.violations(config).values()):
            configs.append(config)
    probe = preparation.workpiece.probe
    return Workload(
        settings=preparation.settings,
        engine=preparation.machine.engine,
        slots=preparation.machine.slots,
        measurements=preparation.measurements,
        num_train=len(preparation.images.train_indices),
        num_val=len(preparation.images.val_indices),
        multiply_adds=[preparation.profile(config).multiply_adds for config in configs],
        probe=probe,
        probe_multiply_adds=profile_network(**vars(probe)).multiply_adds,
        retrain_cost=preparation.retrain_cost,
        memory_need=max(map(preparation.memory_need, configs)),
        preparation_s=time.monotonic() - started,
    )
