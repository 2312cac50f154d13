"""Images for trainings that look at none."""

from __future__ import annotations

import numpy as np

from model.split_images import ImageArrays


def no_images() -> ImageArrays:
    return ImageArrays(
        images=np.zeros((1, 8, 8, 3), np.uint8),
        labels=np.zeros(1, np.int64),
        train_indices=np.zeros(1, np.int64),
        val_indices=np.zeros(0, np.int64),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        num_classes=2,
        split_hash="none",
    )
