"""The full training and the cheaper trainings that are compared with it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from benchmarks.record_curves.variants import Kind
from model.config import TrainConfig
from model.decoding import resize_images
from model.split_images import ImageArrays
from model.splits import stratified_subset

MIN_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """A training that differs from the full one in what it leaves out, or in its kind."""

    name: str
    epochs: int | None = None
    """At most as many as the full training's; None: all of them."""
    kind: Kind = "complete"
    """complete: the schedule ends with the training. The others are in `variants`."""
    images_part: int = 1
    """Trains on one in this many images, stratified; validates on all validation images."""
    side_part: int = 1
    """Divides the images' side, and with it crop padding and cutout."""
    width_part: int = 1
    """Divides the width of every convolution."""
    keeps_steps: bool = False
    """Makes about as many optimizer steps as the full training: batch size and learning rates shrink by one share."""

    def num_epochs(self, max_epochs: int) -> int:
        """Length of the training."""
        return max_epochs if self.epochs is None else min(self.epochs, max_epochs)

    def cost(self, max_epochs: int) -> float:
        """Images trained on, in epochs of the full training."""
        return self.num_epochs(max_epochs) / self.images_part

    def config(self, full: TrainConfig, max_epochs: int) -> TrainConfig:
        """The full training's config, changed to this fidelity."""
        recipe = full.recipe
        changes: dict[str, object] = {
            "crop_padding": recipe.crop_padding // self.side_part,
            "cutout_size": recipe.cutout_size // self.side_part,
        }
        widths = {key: width for key, width in full.network.items() if key.endswith("_width")}
        changes |= {key: width and max(1, width // self.width_part) for key, width in widths.items()}
        if self.keeps_steps:
            share = self.cost(max_epochs) / max_epochs
            batch_size = max(min(MIN_BATCH, recipe.batch_size), round(recipe.batch_size * share))
            changes |= {"batch_size": batch_size}
            rates = ("lr", "adamw_lr", "muon_lr")
            changes |= {name: getattr(recipe, name) * batch_size / recipe.batch_size for name in rates}
        return full.changed(**changes)

    def images(self, full: ImageArrays, *, seed: int) -> ImageArrays:
        """The full training's images, made fewer and smaller. The statistics stay those of the full ones."""
        num_train = len(full.train_indices) // self.images_part
        train = stratified_subset(full.labels, full.train_indices, num_train, seed=seed)
        small = resize_images(full.images, full.images.shape[1] // self.side_part)
        return dataclasses.replace(full, images=np.ascontiguousarray(small), train_indices=train)


FULL = Fidelity(name="full")
FIRST = (
    FULL,
    Fidelity(name="complete-3", epochs=3),
    Fidelity(name="complete-9", epochs=9),
)
"""Recorded first, in this order, for each config: what a run compares."""
SECOND = (
    Fidelity(name="complete-4", epochs=4),
    Fidelity(name="images-6", images_part=6, keeps_steps=True),
    Fidelity(name="small-batch-4", epochs=4, keeps_steps=True),
    Fidelity(name="half-side-images-3", side_part=2, images_part=3, keeps_steps=True),
    Fidelity(name="images-3", images_part=3, keeps_steps=True),
    Fidelity(name="half-side", side_part=2),
    Fidelity(name="half-width", width_part=2),
    Fidelity(name="complete-1", epochs=1),
    Fidelity(name="averaged-4", epochs=4, kind="averaged"),
    Fidelity(name="cooled-4", epochs=4, kind="cooled"),
    Fidelity(name="constant-4", epochs=4, kind="constant"),
    Fidelity(name="constant", kind="constant"),
)
FIDELITIES = {fidelity.name: fidelity for fidelity in (*FIRST, *SECOND)}
