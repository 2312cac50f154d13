from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from model import evaluation
from model.augment import normalise
from model.engine import Engine
from model.evaluation import evaluate

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(0, 256, (23, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def labels() -> torch.Tensor:
    return torch.randint(0, 4, (23,), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )


def logits_of(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    network.eval()
    with torch.no_grad():
        logits: torch.Tensor = network(normalise(images, mean=MEAN, std=STD, dtype=torch.float32))
    return logits


@pytest.mark.parametrize("batch_size", [4, 23, 512])
def test_loss_and_accuracy_equal_a_numpy_count(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "BATCH_SIZE", batch_size)
    indices = torch.tensor([0, 3, 4, 9, 15, 22])
    probabilities = logits_of(network, images)[indices].softmax(1).numpy().astype(np.float64)
    right = labels[indices].numpy()
    result = evaluate(network, images, labels, indices, mean=MEAN, std=STD, engine=Engine(num_threads=1))
    assert result.accuracy == (probabilities.argmax(1) == right).mean()
    assert result.loss == pytest.approx(-np.log(probabilities[np.arange(6), right]).mean(), rel=1e-5)
    np.testing.assert_allclose(result.probabilities.numpy(), probabilities, rtol=1e-5)


def test_without_indices_all_images_are_evaluated(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor
) -> None:
    result = evaluate(network, images, labels, None, mean=MEAN, std=STD, engine=Engine(num_threads=1))
    assert result.probabilities.shape == (23, 4)
    assert result.probabilities.dtype == torch.float32


def test_flip_tta_averages_the_logits_of_both_views(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor
) -> None:
    expected = (logits_of(network, images) + logits_of(network, images.flip(2))) / 2
    engine = Engine(num_threads=1)
    result = evaluate(network, images, labels, None, mean=MEAN, std=STD, engine=engine, flip_tta=True)
    torch.testing.assert_close(result.probabilities, expected.softmax(1))


def test_bf16_nearly_equals_fp32(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    engine = Engine(precision="bf16", channels_last=True, num_threads=1)
    result = evaluate(network, images, labels, None, mean=MEAN, std=STD, engine=engine)
    torch.testing.assert_close(result.probabilities, logits_of(network, images).softmax(1), atol=0.02, rtol=0.05)


@pytest.mark.parametrize("is_training", [True, False])
def test_the_networks_mode_and_statistics_are_unchanged(
    network: Any, images: torch.Tensor, labels: torch.Tensor, is_training: bool
) -> None:
    network.train(is_training)
    before = network[1].running_mean.clone()
    evaluate(network, images, labels, None, mean=MEAN, std=STD, engine=Engine(num_threads=1))
    assert network.training is is_training
    assert torch.equal(network[1].running_mean, before)


def test_no_indices_are_refused(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    none = torch.empty(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="`indices` must name at least one image to evaluate; got none"):
        evaluate(network, images, labels, none, mean=MEAN, std=STD, engine=Engine(num_threads=1))
