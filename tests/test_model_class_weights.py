"""Weights of classes in the loss, against scikit-learn and the formula written out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from small_training import PLAIN, TINY, shared

from model.class_weights import loss_weights, training_loss
from model.objective import Objective
from model.training import Training


def test_balanced_weights_are_scikit_learns_and_their_mean_over_the_images_is_1() -> None:
    labels = np.repeat([0, 1, 3], [60, 3, 17])
    weights = loss_weights("balanced", torch.from_numpy(labels), 5)
    assert weights is not None
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels)
    assert weights.numpy() == pytest.approx([expected[0], expected[1], 0, expected[2], 0])
    assert float(weights[labels].mean()) == pytest.approx(1)
    assert loss_weights("none", torch.from_numpy(labels), 5) is None


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_the_mean_over_the_batch_of_each_images_weighted_loss(smoothing: float) -> None:
    rng = np.random.default_rng(0)
    logits, labels, weights = rng.normal(size=(6, 3)), np.array([0, 0, 0, 1, 1, 2]), np.array([0.5, 1.0, 4.0])
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = np.eye(3)[labels] * (1 - smoothing) + smoothing / 3
    losses = -(targets * logs).sum(1)
    tensors = torch.from_numpy(logits), torch.from_numpy(labels)
    loss = training_loss(*tensors, torch.from_numpy(weights), label_smoothing=smoothing)
    assert float(loss) == pytest.approx((losses * weights[labels]).mean())
    assert float(training_loss(*tensors, None, label_smoothing=smoothing)) == pytest.approx(losses.mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_training_weighs_each_image_by_its_class_among_its_own_training_images(smoothing: float) -> None:
    """Of 21 training images, 3 are of class 1; the validation images do not count."""
    images = shared()
    of_class = [torch.arange(24 + label, 80, 2) for label in (0, 1)]
    images = dataclasses.replace(images, train_indices=torch.cat([of_class[0][:18], of_class[1][:3]]))
    losses = {}
    for kind in ("none", "balanced"):
        training = Training(
            TINY.changed(label_smoothing=smoothing),
            images,
            max_epochs=2,
            seed=0,
            engine=PLAIN,
            objective=Objective(class_weights=kind),
        )
        _, draws = training.draw_epoch(1)
        losses[kind] = float(training.train_step(of_class[1][:3], draws[:3]))
    assert losses["balanced"] == pytest.approx(losses["none"] * 21 / (2 * 3), rel=1e-5)


@pytest.mark.parametrize("name", ["accuracy", "auc", "log_loss"])
def test_an_epoch_has_the_objectives_score_and_the_accuracy_beside_it(name: str) -> None:
    objective = Objective(metric_name=name)  # type: ignore[arg-type]
    training = Training(TINY, shared(), max_epochs=2, seed=0, engine=PLAIN, objective=objective)
    metrics = training.train_epoch()
    assert metrics.val_accuracy is not None
    assert metrics.val_score is not None
    assert metrics.val_loss is not None
    assert metrics.val_error is not None
    assert (metrics.val_error > 0) == (name == "log_loss"), "all images are right"
    if name == "log_loss":
        assert metrics.val_score == pytest.approx(-metrics.val_loss, rel=1e-5)
    elif name == "accuracy":
        assert metrics.val_score == metrics.val_accuracy
    else:
        assert 0 <= metrics.val_score <= 1
