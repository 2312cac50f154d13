"""What a training is judged by, and how its loss weighs the classes: the same for all trainings of a run.

Imports nothing slow, because the command line lists the names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MetricName = Literal["accuracy", "balanced_accuracy", "macro_f1", "auc", "log_loss"]
ClassWeights = Literal["balanced", "none"]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Names of the metric, see `model.metrics`, and of the classes' weights, see `model.class_weights`."""

    metric_name: MetricName = "accuracy"
    class_weights: ClassWeights = "none"


ACCURACY = Objective()
