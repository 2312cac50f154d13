"""Profiles against real networks: parameters counted, shapes watched, the receptive field from a gradient."""

import random
import time
from dataclasses import replace
from typing import Any, Literal, get_args

import pytest
import torch
from torch import Tensor, nn

from model.network import Network, build_network
from model.network_config import SEED_NETWORK, BlockConfig, ConvKind, NetworkConfig
from model.profile import limit_violations, profile_network
from model.whitening import PatchWhitening

LIMITS: dict[str, Any] = {"max_params": 1_000_000, "min_receptive_field": 44, "num_classes": 10, "image_size": 32}
WITHIN_LIMITS = NetworkConfig(c2=BlockConfig(kind="depthwise_separable"), c3=BlockConfig(kind="dilated"))


def _random_config(seed: int) -> NetworkConfig:
    """Any shape of network, 2 to 4 channels wide, so that the gradient oracle takes a large image in its stride."""
    draw = random.Random(seed)

    def block() -> BlockConfig:
        kind = draw.choice(get_args(ConvKind))
        return BlockConfig(
            kind=kind,
            num_convs=2 if kind == "spatially_separable" else draw.randint(1, 4),
            squeeze_width=draw.choice((0, 3)),
            inner_width=draw.randint(2, 4),
            width=draw.randint(2, 4),
        )

    return NetworkConfig(
        c1=block(),
        c2=block(),
        c3=block(),
        output=block(),
        norm_order=draw.choice(("norm_first", "activation_first")),
        pool_order=draw.choice(("pool_first", "pool_last")),
        padding=draw.choice(("same", "seed")),
        output_norm=draw.random() < 0.5,
        residual=draw.random() < 0.5,
        dropout=draw.choice((0.0, 0.1)),
        stem=draw.choice(("none", "whitening")),
        head=draw.choice(("average", "average_and_max")),
    )


def _linear_twin(config: NetworkConfig) -> Network:
    """The network without activations, its max-pools replaced by average pools.

    A dead ReLU and the losers of a max-pool have no gradient on the one image at hand though they can have one on
    others; without them every pixel that a unit can depend on shows. In float64, since the corners' share is tiny.
    """
    torch.manual_seed(0)
    network = build_network(config, num_classes=10).double().eval()
    for module in list(network.modules()):
        if isinstance(module, PatchWhitening):
            nn.init.normal_(module.weight)
        for name, child in list(module.named_children()):
            if isinstance(child, (nn.ReLU, nn.Dropout)):
                setattr(module, name, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(2))
    return network


def _receptive_field_by_gradient(config: NetworkConfig, image_size: int) -> int:
    images = torch.zeros(1, 3, image_size, image_size, dtype=torch.float64, requires_grad=True)
    maps = _linear_twin(config).blocks(images)
    maps[0, 0, maps.shape[2] // 2, maps.shape[3] // 2].backward()
    assert images.grad is not None
    touched = images.grad[0].abs().sum(dim=0) > 0
    extents = []
    for axis in (0, 1):
        lines = torch.nonzero(touched.any(dim=axis)).flatten()
        assert lines.min() > 0, "the image is too small for this oracle"
        assert lines.max() < image_size - 1, "the image is too small for this oracle"
        extents.append(int(lines.max() - lines.min()) + 1)
    return min(extents)


def _watched_layers(network: Network, images: Tensor) -> list[tuple[str, tuple[int, ...], int]]:
    names = {module: name for name, module in network.named_modules()}
    rows: list[tuple[str, tuple[int, ...], int]] = []

    def record(module: nn.Module, _: Any, output: Tensor) -> None:
        rows.append((names[module], tuple(output.shape[1:]), sum(p.numel() for p in module.parameters())))

    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(record)
    network.eval()(images)
    return rows


@pytest.mark.parametrize(("norm", "name"), [("batch", "BatchNorm"), ("ghost", "GhostBatchNorm")])
def test_a_norm_is_named_as_in_the_config(norm: Literal["batch", "ghost"], name: str) -> None:
    layers = profile_network(replace(NetworkConfig(), norm=norm, norm_splits=2).flat()).layers
    assert {row.description for row in layers if "Norm" in row.description} == {name}


def test_seed_network() -> None:
    profile = profile_network(SEED_NETWORK.flat())
    assert profile.num_params == 657_146
    assert profile.num_trainable_params == 656_154
    assert (profile.num_max_pools, profile.num_depthwise_separable, profile.num_dilated) == (3, 0, 2)
    convs = [(row.description, row.output_shape, row.num_params) for row in profile.layers if "onv" in row.description]
    assert convs == [
        ("Conv 3x3, padding 1", (32, 32, 32), 896),
        ("Conv 3x3, padding 1", (32, 32, 32), 9_248),
        ("Conv 1x1, padding 1", (16, 18, 18), 528),
        ("Conv (3, 1), padding 1", (64, 18, 20), 3_136),
        ("Conv (1, 3), padding 1", (64, 20, 20), 12_352),
        ("Conv 1x1, padding 1", (32, 12, 12), 2_080),
        ("Conv 3x3, dilation 2, padding 2", (128, 12, 12), 36_992),
        ("Conv 3x3, dilation 2, padding 1", (128, 10, 10), 147_584),
        ("Conv 3x3, padding 1", (256, 5, 5), 295_168),
        ("Conv 3x3, padding 1", (64, 5, 5), 147_520),
        ("Conv 1x1", (10, 1, 1), 650),
    ]
    # 32x32 pixels times 3x3 weights from 3 channels to 32, and so on down the table.
    assert [row.multiply_adds for row in profile.layers if "onv" in row.description] == [
        32 * 32 * 9 * 3 * 32,
        32 * 32 * 9 * 32 * 32,
        18 * 18 * 32 * 16,
        18 * 20 * 3 * 16 * 64,
        20 * 20 * 3 * 64 * 64,
        12 * 12 * 64 * 32,
        12 * 12 * 9 * 32 * 128,
        10 * 10 * 9 * 128 * 128,
        5 * 5 * 9 * 128 * 256,
        5 * 5 * 9 * 256 * 64,
        64 * 10,
    ]
    assert profile.multiply_adds == sum(row.multiply_adds for row in profile.layers) == 47_917_696


@pytest.mark.parametrize("config", [SEED_NETWORK, *map(_random_config, range(12))], ids=["seed", *map(str, range(12))])
def test_receptive_field_equals_the_extent_of_a_gradient(config: NetworkConfig) -> None:
    seen = profile_network(config.flat(), image_size=64).receptive_field
    assert seen is not None
    assert _receptive_field_by_gradient(config, image_size=2 * seen + 64) == seen


@pytest.mark.parametrize("seed", range(12))
def test_layers_equal_those_of_a_forward_pass(seed: int) -> None:
    config = _random_config(seed)
    network = build_network(config, num_classes=7)
    profile = profile_network(config.flat(), num_classes=7, image_size=64)
    expected = _watched_layers(network, torch.zeros(1, 3, 64, 64))
    assert [(row.name, row.output_shape, row.num_params) for row in profile.layers] == expected
    assert profile.num_params == sum(parameter.numel() for parameter in network.parameters())
    # No frozen scales here; a whitening layer counts as a frozen one.
    assert profile.num_params - profile.num_trainable_params == (28 * 24 if config.stem == "whitening" else 0)
    blocks = (config.c1, config.c2, config.c3, config.output)

    def num_convs(kind: ConvKind, last: ConvKind) -> int:
        every = sum(block.num_convs for block in blocks if block.kind == kind)
        return every + sum(block.kind == last for block in blocks)

    assert profile.num_depthwise_separable == num_convs("depthwise_separable", "depthwise_separable_last")
    assert profile.num_dilated == num_convs("dilated", "dilated_last")


def test_multiply_adds_of_grouped_convolutions_against_pytorchs_flop_counter() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    network = build_network(WITHIN_LIMITS, num_classes=10).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, 32, 32))
    assert 2 * profile_network(WITHIN_LIMITS.flat()).multiply_adds == counter.get_total_flops()


def test_a_profile_takes_milliseconds_and_leaves_the_random_generator_alone() -> None:
    state = torch.get_rng_state()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        profile_network(SEED_NETWORK.flat())
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1  # 4 ms on an idle machine
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("image_size", [1, 4, 7, 8])
def test_an_image_is_too_small_exactly_when_the_network_cannot_take_it(image_size: int) -> None:
    network = build_network(WITHIN_LIMITS, num_classes=10).eval()
    images = torch.zeros(1, 3, image_size, image_size)
    if image_size == 8:
        assert network(images).shape == (1, 10)
        profile_network(WITHIN_LIMITS.flat(), image_size=image_size)
    else:
        with pytest.raises(RuntimeError, match="too small"):
            network(images)
        message = rf"`image_size` is too small for this network, .*got {image_size}\. Use larger images"
        with pytest.raises(ValueError, match=message):
            profile_network(WITHIN_LIMITS.flat(), image_size=image_size)


def test_a_config_within_the_limits_violates_none() -> None:
    assert all(excess <= 0 for excess in limit_violations(WITHIN_LIMITS.flat(), **LIMITS).values())


def test_the_seed_config_lacks_only_a_depthwise_separable_convolution() -> None:
    violations = limit_violations(SEED_NETWORK.flat(), **LIMITS)
    assert {name for name, excess in violations.items() if excess > 0} == {"num_depthwise_separable"}


def test_limits_are_strict() -> None:
    """Just inside a limit is kept, with an excess of 0; on the limit itself is one beyond."""
    profile = profile_network(WITHIN_LIMITS.flat())
    assert profile.receptive_field is not None

    def excess(name: str, **limit: int) -> float:
        return limit_violations(WITHIN_LIMITS.flat(), **LIMITS | limit)[name]

    assert excess("num_params", max_params=profile.num_params + 1) == 0
    assert excess("num_params", max_params=profile.num_params) == 1
    assert excess("receptive_field", min_receptive_field=profile.receptive_field - 1) == 0
    assert excess("receptive_field", min_receptive_field=profile.receptive_field) == 1


@pytest.mark.parametrize(
    ("changes", "limits", "violated"),
    [
        ({"c2": BlockConfig(kind="dense")}, {}, "num_depthwise_separable"),
        ({"c3": BlockConfig(kind="dense")}, {}, "num_dilated"),
        ({"output": BlockConfig(inner_width=1024, width=1024)}, {}, "num_params"),
        ({}, {"min_receptive_field": 1000}, "receptive_field"),
        ({}, {"image_size": 7}, "image_size"),
        ({}, {"num_classes": 20_000}, "num_params"),
    ],
)
def test_each_limit_is_reported_under_its_name(changes: Any, limits: dict[str, int], violated: str) -> None:
    violations = limit_violations(replace(WITHIN_LIMITS, **changes).flat(), **LIMITS | limits)
    assert {name for name, excess in violations.items() if excess > 0} == {violated}
    assert list(violations) == list(limit_violations(SEED_NETWORK.flat(), **LIMITS))
