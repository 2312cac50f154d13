"""Loss, accuracy and class probabilities of a network on a split."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.augment import normalise
from model.engine import Engine
from model.metrics import Metric
from model.split_images import ImageTensors

BATCH_SIZE = 512
"""Images per forward pass."""


@dataclass(frozen=True)
class Evaluation:
    """A network's scores and predictions on N images."""

    loss: float
    """Mean cross-entropy in nats, without label smoothing."""
    accuracy: float
    """Fraction of images, 0..1, whose most probable class is their label."""
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
) -> Evaluation:
    """Evaluate `network` in inference mode on `images` (N, H, W, 3) uint8 at `indices`, without augmentation.

    `labels` are int64 (N,); indices=None means all images. With `flip_tta`, the logits of an image and its mirror image
    are averaged. The network's training mode is restored. ValueError if there is nothing to evaluate.
    """
    chosen = torch.arange(len(images), device=images.device) if indices is None else indices
    if len(chosen) == 0:
        raise ValueError("`indices` must name at least one image to evaluate; got none.")
    was_training = network.training
    network.eval()
    logits = []
    with torch.inference_mode(), engine.autocast():
        for part in torch.split(chosen, BATCH_SIZE):
            batch = normalise(images.index_select(0, part), mean=mean, std=std, dtype=engine.dtype)
            batch = batch.contiguous(memory_format=engine.memory_format)
            views = [batch, batch.flip(3)] if flip_tta else [batch]
            logits.append(torch.stack([network(view).float() for view in views]).mean(0))
    network.train(was_training)
    return _score(torch.cat(logits), labels.index_select(0, chosen))


def validate(network: nn.Module, images: ImageTensors, *, metric: Metric, engine: Engine) -> dict[str, float | None]:
    """Loss, accuracy, score and its standard error on the validation split, as `EpochMetrics` names them.

    All None without a validation split.
    """
    if len(images.val_indices) == 0:
        return dict.fromkeys(("val_loss", "val_accuracy", "val_score", "val_error"))
    evaluation = evaluate(
        network,
        images.images,
        images.labels,
        images.val_indices,
        mean=images.mean,
        std=images.std,
        engine=engine,
    )
    labels = images.labels.index_select(0, images.val_indices).cpu().numpy()
    measured = metric.measure(labels, evaluation.probabilities.numpy())
    return {
        "val_loss": evaluation.loss,
        "val_accuracy": evaluation.accuracy,
        "val_score": measured.score,
        "val_error": measured.error,
    }


def _score(logits: Tensor, labels: Tensor) -> Evaluation:
    """Score all batches at once, so that a GPU is waited for once instead of once per batch."""
    loss = functional.cross_entropy(logits, labels).item()
    probabilities = logits.softmax(1)
    num_right = int((probabilities.argmax(1) == labels).sum().item())
    return Evaluation(loss=loss, accuracy=num_right / len(labels), probabilities=probabilities.cpu())
