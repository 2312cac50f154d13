"""A foreign network's receptive field: equal to the built-in family's closed form, or not known."""

from __future__ import annotations

import pytest
import torchvision
from torch import nn

from model.network import build
from model.network_config import SEED_NETWORK
from model.receptive_field import measured_receptive_field, receptive_field


@pytest.mark.parametrize("config", [{}, SEED_NETWORK.flat()], ids=["default", "seed"])
def test_the_gradient_sees_what_the_layers_say(config: dict[str, object]) -> None:
    network = build(config, num_classes=3, image_size=32)
    assert measured_receptive_field(network, 160) == receptive_field(network)


def test_it_is_counted_by_hand_with_strides_and_without_a_classifier_that_fits() -> None:
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 5, 2, 2)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4, 2))
    assert measured_receptive_field(network, 64) == 3 + 2 + 4 * 2


def test_what_sees_everything_fills_the_canvas() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1))
    assert measured_receptive_field(network, 24) == 24


def test_of_tokens_it_is_not_known() -> None:
    network = torchvision.models.VisionTransformer(
        image_size=16, patch_size=4, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8
    )
    assert measured_receptive_field(network, 16) is None
    assert measured_receptive_field(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2)), 16) is None
