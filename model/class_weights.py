"""The loss of a training, with weights of the classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from model.objective import ClassWeights


def loss_weights(kind: ClassWeights, labels: Tensor, num_classes: int) -> Tensor | None:
    """The weight of each class's images in the loss (K,), from the labels of the training images (N,), int64.

    balanced: n / (k * n_c) for n images of k classes, n_c of them in class c, so that all classes weigh the same and
    the mean weight of an image is 1; 0 for a class without images. none: None, every image has weight 1.
    """
    if kind == "none":
        return None
    counts = torch.bincount(labels, minlength=num_classes)
    weights = len(labels) / ((counts > 0).sum() * counts.clamp(min=1))
    return torch.where(counts > 0, weights, 0.0)


def training_loss(logits: Tensor, labels: Tensor, weights: Tensor | None, *, label_smoothing: float) -> Tensor:
    """Mean cross-entropy of a batch, each image times the weight of its class.

    Not divided by the sum of the weights: a batch without rare classes, whose images weigh little, counts little.
    """
    if weights is None:
        return functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    losses = functional.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    return (losses * weights[labels]).mean()
