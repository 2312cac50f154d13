"""What networks compute, and from which random numbers."""

import copy

import pytest
import torch
from small_networks import KINDS, network_of, small_config
from torch import nn
from torch.nn import functional

from model.layers import seed_dropout
from model.network import build_network
from model.network_config import SEED_NETWORK, BlockConfig, NetworkConfig


def test_the_head_may_see_each_maps_maximum_beside_its_average() -> None:
    network = network_of(small_config(head="average_and_max")).eval()
    images = torch.randn(3, 3, 32, 32)
    maps = network.blocks(images)
    pooled = torch.stack([maps.mean(dim=(2, 3)), maps.flatten(2).max(dim=2).values]).mean(dim=0)
    weight = network.classifier.weight.flatten(1)
    torch.testing.assert_close(network(images), functional.linear(pooled, weight, network.classifier.bias))


def test_parameters_depend_on_torchs_seed_alone_and_training_leaves_its_generator_alone() -> None:
    first, again, other = (network_of(SEED_NETWORK, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])
    network = network_of(SEED_NETWORK)
    state = torch.get_rng_state()
    network(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))).sum().backward()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_training_step_repeats_bit_for_bit_with_the_same_dropout_seed() -> None:
    network = network_of(small_config(norm="ghost", norm_splits=2))
    images = torch.randn(6, 3, 16, 16)
    outputs = []
    for seed in (5, 5, 6):
        seed_dropout(network, seed)
        outputs.append(network(images).detach())
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_bf16_in_channels_last_computes_what_fp32_does() -> None:
    config = small_config(norm="ghost", norm_splits=2, residual=True, activation="silu", dropout=0.0)
    plain, fast = network_of(config), network_of(config).to(memory_format=torch.channels_last)
    images, labels = torch.randn(64, 3, 16, 16), torch.arange(64) % 10
    expected = plain(images)
    with torch.autocast("cpu", torch.bfloat16):
        logits = fast(images.contiguous(memory_format=torch.channels_last)).float()
    torch.autograd.backward(nn.functional.cross_entropy(logits, labels))
    torch.autograd.backward(nn.functional.cross_entropy(expected, labels))
    torch.testing.assert_close(logits, expected, atol=0.03, rtol=0.03)
    ours, theirs = (torch.cat([p.grad.flatten() for p in n.parameters() if p.grad is not None]) for n in (fast, plain))
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.99


def test_other_image_channels_and_class_numbers() -> None:
    network = build_network(small_config(), 3, in_channels=1)
    assert network.eval()(torch.zeros(2, 1, 16, 16)).shape == (2, 3)


@pytest.mark.parametrize(
    "config", [SEED_NETWORK, small_config(residual=True, activation="gelu")], ids=["seed", "residual"]
)
def test_evaluation_can_be_exported_with_a_free_batch_size(config: NetworkConfig) -> None:
    network = network_of(config).eval()
    batch = torch.export.Dim("batch", min=1, max=1024)
    exported = torch.export.export(network, (torch.randn(2, 3, 32, 32),), dynamic_shapes=({0: batch},))
    images = torch.randn(5, 3, 32, 32)
    torch.testing.assert_close(exported.module()(images), network(images))


def test_a_network_can_be_copied_with_its_dropout_in_mid_stream() -> None:
    network = network_of(small_config())
    network(torch.randn(4, 3, 16, 16))
    twin = copy.deepcopy(network)
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(network(images), twin(images))


@pytest.mark.parametrize("padding", ["same", "seed"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_has_a_gradient(padding: str, kind: str) -> None:
    block = BlockConfig(kind=kind, squeeze_width=4, inner_width=4, width=4)  # type: ignore[arg-type]
    network = network_of(small_config(padding=padding, residual=True, c2=block, c3=block, output=block))
    network(torch.randn(4, 3, 24, 24)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
