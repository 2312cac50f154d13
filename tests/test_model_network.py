"""The seed network's layers, and how configs become layers."""

from typing import Any

import pytest
import torch
from small_networks import KINDS, blocks_of, network_of, small_config
from torch import Tensor, nn

from model.layers import Dropout, GhostBatchNorm
from model.network import ConvUnit, Network
from model.network_config import SEED_NETWORK, BlockConfig, ConvKind


def _unit_layers(unit: nn.Module) -> list[str]:
    assert isinstance(unit, ConvUnit)
    names = [name for name, _ in unit.body.named_children()]
    return names + (["+"] if unit.is_residual else []) + (["pool"] if unit.pool is not None else [])


def _traced_outputs(network: Network, images: Tensor) -> list[tuple[str, tuple[int, ...], int]]:
    """(kind, output shape, parameters) of each layer but activations, as an image passes."""
    rows: list[tuple[str, tuple[int, ...], int]] = []
    for module in network.modules():
        if not list(module.children()) and not isinstance(module, nn.ReLU):
            module.register_forward_hook(
                lambda layer, _, output: rows.append(
                    (type(layer).__name__, tuple(output.shape[1:]), sum(p.numel() for p in layer.parameters()))
                )
            )
    network.eval()(images)
    return rows


def test_seed_network_has_the_notebooks_table() -> None:
    network = network_of(SEED_NETWORK)
    conv, norm, dropout, pool = "Conv2d", "GhostBatchNorm", "Dropout", "MaxPool2d"
    assert _traced_outputs(network, torch.zeros(1, 3, 32, 32)) == [
        (conv, (32, 32, 32), 896),
        (norm, (32, 32, 32), 64),
        (conv, (32, 32, 32), 9_248),
        (norm, (32, 32, 32), 64),
        (dropout, (32, 32, 32), 0),
        (pool, (32, 16, 16), 0),
        (conv, (16, 18, 18), 528),
        (norm, (16, 18, 18), 32),
        (dropout, (16, 18, 18), 0),
        (conv, (64, 18, 20), 3_136),
        (norm, (64, 18, 20), 128),
        (dropout, (64, 18, 20), 0),
        (conv, (64, 20, 20), 12_352),
        (norm, (64, 20, 20), 128),
        (dropout, (64, 20, 20), 0),
        (pool, (64, 10, 10), 0),
        (conv, (32, 12, 12), 2_080),
        (norm, (32, 12, 12), 64),
        (dropout, (32, 12, 12), 0),
        (conv, (128, 12, 12), 36_992),
        (norm, (128, 12, 12), 256),
        (dropout, (128, 12, 12), 0),
        (conv, (128, 10, 10), 147_584),
        (norm, (128, 10, 10), 256),
        (dropout, (128, 10, 10), 0),
        (pool, (128, 5, 5), 0),
        (conv, (256, 5, 5), 295_168),
        (conv, (64, 5, 5), 147_520),
        ("AdaptiveAvgPool2d", (64, 1, 1), 0),
        (conv, (10, 1, 1), 650),
    ]
    assert sum(parameter.numel() for parameter in network.parameters()) == 657_146
    # 496 scales are frozen; their 496 shifts learn, which a summary by whole layers does not show.
    assert sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad) == 657_146 - 496


def test_seed_network_applies_relu_then_norm_then_dropout() -> None:
    network = network_of(SEED_NETWORK)
    first, second, *rest = [_unit_layers(unit) for block in blocks_of(network) for unit in block]
    assert first == ["conv", "activation", "norm"]
    assert second == ["conv", "activation", "norm", "dropout", "pool"]
    assert rest[-2:] == [["conv", "activation"]] * 2
    convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.dilation[0] for conv in convs] == [1, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1]
    assert [conv.padding[0] for conv in convs] == [1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 0]
    assert all(conv.groups == 1 for conv in convs)
    assert {module.num_splits for module in network.modules() if isinstance(module, GhostBatchNorm)} == {2}
    assert {module.p for module in network.modules() if isinstance(module, Dropout)} == {26 / 256}


@pytest.mark.parametrize(
    ("norm_order", "pool_order", "expected"),
    [
        ("norm_first", "pool_last", ["conv", "norm", "activation", "dropout", "pool"]),
        ("norm_first", "pool_first", ["conv", "pool", "norm", "activation", "dropout"]),
        ("activation_first", "pool_last", ["conv", "activation", "norm", "dropout", "pool"]),
        ("activation_first", "pool_first", ["conv", "pool", "activation", "norm", "dropout"]),
    ],
)
def test_layers_follow_the_configured_order(norm_order: str, pool_order: str, expected: list[str]) -> None:
    network = network_of(small_config(norm_order=norm_order, pool_order=pool_order))
    without_pool = [name for name in expected if name != "pool"]
    blocks = [[_unit_layers(unit) for unit in block] for block in blocks_of(network)]
    assert blocks[0] == [without_pool[:-1], expected]  # no dropout after the network's first norm
    assert blocks[1:3] == [[without_pool, expected]] * 2
    assert blocks[3] == [without_pool] * 2
    has_bias = [conv.bias is not None for conv in network.blocks.modules() if isinstance(conv, nn.Conv2d)]
    assert set(has_bias) == {norm_order == "activation_first"}


@pytest.mark.parametrize(("pool_order", "pooled_unit_adds"), [("pool_last", True), ("pool_first", False)])
def test_residual_additions_wherever_shapes_match(pool_order: str, pooled_unit_adds: bool) -> None:
    network = network_of(small_config(residual=True, pool_order=pool_order, c1=BlockConfig(inner_width=3, width=8)))
    units = [unit for block in blocks_of(network) for unit in block]
    middle = [True, pooled_unit_adds]  # 3 channels to 3, 3 to 8, then always 8 to 8
    assert [unit.is_residual for unit in units] == [True, False, *middle, *middle, True, True]

    x = images = torch.randn(4, 3, 16, 16)
    for unit in network.eval().blocks.modules():
        if isinstance(unit, ConvUnit):
            y = unit.body(x)
            y = y + x if y.shape == x.shape else y
            x = y if unit.pool is None else unit.pool(y)
    torch.testing.assert_close(network(images), network.classifier(x.mean(dim=(2, 3), keepdim=True)).flatten(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("squeeze_width", [0, 4])
def test_same_padding_keeps_the_maps_size_for_every_kind(kind: str, squeeze_width: int) -> None:
    block = BlockConfig(kind=kind, squeeze_width=squeeze_width, inner_width=8, width=12)  # type: ignore[arg-type]
    network = network_of(small_config(c1=block, c2=block, c3=block, output=block))
    assert network.eval().blocks(torch.zeros(2, 3, 24, 32)).shape == (2, 12, 3, 4)


def test_depthwise_separable_is_a_depthwise_then_a_pointwise_convolution_with_one_norm() -> None:
    block = BlockConfig(kind="depthwise_separable", squeeze_width=4, num_convs=1, width=12)
    unit = blocks_of(network_of(small_config(c2=block, output_norm=False, norm_order="activation_first"))).c2[1]
    assert _unit_layers(unit) == ["depthwise", "pointwise", "activation", "norm", "dropout", "pool"]
    depthwise, pointwise = unit.body.depthwise, unit.body.pointwise
    assert (depthwise.groups, depthwise.kernel_size, depthwise.bias) == (4, (3, 3), None)
    assert (pointwise.groups, pointwise.kernel_size, pointwise.out_channels) == (1, (1, 1), 12)
    assert pointwise.bias is not None


@pytest.mark.parametrize(
    ("kind", "groups", "dilations"),
    [("depthwise_separable_last", [1, 1, 8, 1], [1, 1, 1, 1]), ("dilated_last", [1, 1, 1], [1, 1, 2])],
)
def test_the_last_convolution_of_a_block_may_be_of_another_kind(
    kind: ConvKind, groups: list[int], dilations: list[int]
) -> None:
    block = blocks_of(network_of(small_config(c2=BlockConfig(kind=kind, num_convs=3, inner_width=8, width=12)))).c2
    convs = [module for module in block.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.groups for conv in convs] == groups
    assert [conv.dilation[0] for conv in convs] == dilations


def test_output_block_without_norm_has_biases_and_no_dropout() -> None:
    units = list(blocks_of(network_of(small_config(output_norm=False))).output)
    assert [_unit_layers(unit) for unit in units] == [["conv", "activation"]] * 2
    assert all(unit.body.conv.bias is not None for unit in units)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("gelu", lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2),
        ("silu", lambda x: x * torch.sigmoid(x)),
        ("celu", lambda x: torch.where(x > 0, x, 0.075 * torch.expm1(x / 0.075))),
    ],
)
def test_activations(activation: str, function: Any) -> None:
    layer = blocks_of(network_of(small_config(activation=activation))).c1[0].body.activation
    x = torch.linspace(-3, 3, 50)
    torch.testing.assert_close(layer(x), function(x))


def test_batch_norm_ignores_splits_and_ghost_norm_has_them() -> None:
    for norm, expected in (("batch", 1), ("ghost", 4)):
        network = network_of(small_config(norm=norm, norm_splits=4))
        assert {m.num_splits for m in network.modules() if isinstance(m, GhostBatchNorm)} == {expected}
