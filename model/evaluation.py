"""Loss, accuracy and class probabilities of a network on a split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.augment import normalise
from model.engine import Engine


@dataclass(frozen=True)
class Evaluation:
    """A network's answers to N images."""

    loss: float
    """Mean cross-entropy in nats, without label smoothing."""
    accuracy: float
    """Fraction of the images whose most probable class is the labelled one."""
    probabilities: Tensor
    """(N, K) float32 on the CPU, in the order of the evaluated indices."""


def evaluate(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    indices: Tensor | None,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    engine: Engine,
    flip_tta: bool = False,
    batch_size: int = 512,
) -> Evaluation:
    """Judge `network` on `images` (N, H, W, 3) uint8 at `indices` (all where None), unaugmented, as it is at inference.

    With `flip_tta` the logits of an image and of its mirror image are averaged. The network's training mode is kept.
    """
    chosen = torch.arange(len(images), device=images.device) if indices is None else indices
    if len(chosen) == 0:
        raise ValueError("`indices` must name at least one image to evaluate; got none.")
    was_training = network.training
    network.eval()
    logits = []
    with torch.inference_mode(), engine.autocast():
        for part in torch.split(chosen, batch_size):
            batch = normalise(images.index_select(0, part), mean=mean, std=std, dtype=engine.dtype)
            batch = batch.contiguous(memory_format=engine.memory_format)
            views = [batch, batch.flip(3)] if flip_tta else [batch]
            logits.append(torch.stack([network(view).float() for view in views]).mean(0))
    network.train(was_training)
    return _score(torch.cat(logits), labels.index_select(0, chosen))


def _score(logits: Tensor, labels: Tensor) -> Evaluation:
    """All of a device's answers are fetched at once: one wait for a GPU, not one a batch."""
    loss = functional.cross_entropy(logits, labels).item()
    num_right = int((logits.argmax(1) == labels).sum().item())
    return Evaluation(loss=loss, accuracy=num_right / len(labels), probabilities=logits.softmax(1).cpu())
