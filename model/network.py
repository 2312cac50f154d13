"""The networks: blocks c1, c2 and c3, each ending in a max-pool, an output block, average pooling, a classifier."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from model.layers import Conv2d, Dropout, GhostBatchNorm, ReLU, seed_dropout
from model.network_config import BLOCK_NAMES, BlockConfig, ConvKind, NetworkConfig
from model.whitening import PatchWhitening

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    # Close to ReLU, as in the fast CIFAR-10 recipes: https://myrtle.ai/how-to-train-your-resnet-8-bag-of-tricks/
    "celu": partial(nn.CELU, alpha=0.075),
}

_WHITENED_DIRECTIONS = 12


class ConvUnit(nn.Module):
    """A convolution, then norm, activation, dropout, residual addition and max-pool as the config asks.

    (N, C_in, H, W) to (N, C_out, H', W').
    """

    def __init__(self, body: nn.Sequential, *, is_residual: bool, pool: nn.MaxPool2d | None) -> None:
        super().__init__()
        self.body = body
        self.is_residual = is_residual
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        if self.is_residual:
            y = y + x
        return y if self.pool is None else self.pool(y)


class Network(nn.Module):
    """Normalised images (N, C, H, W) to logits (N, num_classes); built by `build_network`."""

    def __init__(self, blocks: OrderedDict[str, nn.Module], classifier: nn.Conv2d, *, sees_maximum: bool) -> None:
        super().__init__()
        self.blocks = nn.Sequential(blocks)
        self.average_pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = classifier
        self.sees_maximum = sees_maximum

    def forward(self, images: Tensor) -> Tensor:
        maps = self.blocks(images)
        pooled = self.average_pool(maps)
        if self.sees_maximum:
            pooled = (pooled + maps.amax((2, 3), keepdim=True)) / 2
        logits: Tensor = self.classifier(pooled)
        return logits.flatten(1)


def build(config: Mapping[str, Any], *, num_classes: int, image_size: int) -> Network:
    """The built-in family's `Builder`: its keys are `NETWORK_KEYS`, missing ones take their defaults."""
    return build_network(NetworkConfig.from_flat(config), num_classes)


def build_network(config: NetworkConfig, num_classes: int, in_channels: int = 3) -> Network:
    """Build the network of `config`. `profile_network` checks whether images are large enough for it.

    Parameters come from PyTorch's default generator, which the caller seeds. Dropout starts from seed 0.
    """
    units: dict[str, list[ConvUnit]] = {name: [] for name in BLOCK_NAMES}
    for plan in _plan_units(config, in_channels):
        units[plan.block].append(_build_unit(config, plan))
    blocks: OrderedDict[str, nn.Module] = OrderedDict((name, nn.Sequential(*units[name])) for name in BLOCK_NAMES)
    classifier = nn.Conv2d(config.output.width, num_classes, kernel_size=1)
    network = Network(blocks, classifier, sees_maximum=config.head == "average_and_max")
    seed_dropout(network, 0)
    return network


@dataclass(frozen=True)
class _UnitPlan:
    """One unit of the network before its layers are built."""

    block: str
    kind: ConvKind | Literal["whitening", "squeeze"]
    position: int
    """Index among the block's convolutions after the squeeze, from 0."""
    is_last: bool
    """Whether it is the last unit of its block."""
    in_channels: int
    out_channels: int
    has_norm: bool
    has_dropout: bool
    has_pool: bool


def _plan_units(config: NetworkConfig, in_channels: int) -> Iterator[_UnitPlan]:
    is_first = True
    if config.stem == "whitening":
        yield _whitening_plan(in_channels)
        in_channels = 2 * _WHITENED_DIRECTIONS
    for name in BLOCK_NAMES:
        block: BlockConfig = getattr(config, name)
        has_norm = name != "output" or config.output_norm
        widths = [block.inner_width] * (block.num_convs - 1) + [block.width]
        steps: list[tuple[ConvKind | Literal["squeeze"], int, int]] = [
            (block.kind, position, width) for position, width in enumerate(widths)
        ]
        if block.squeeze_width:
            steps.insert(0, ("squeeze", 0, block.squeeze_width))
        for step, (kind, position, out_channels) in enumerate(steps):
            is_last = step == len(steps) - 1
            yield _UnitPlan(
                block=name,
                kind=kind,
                position=position,
                is_last=is_last,
                in_channels=in_channels,
                out_channels=out_channels,
                has_norm=has_norm,
                has_dropout=has_norm and not is_first,
                has_pool=name != "output" and is_last,
            )
            in_channels, is_first = out_channels, False


def _whitening_plan(in_channels: int) -> _UnitPlan:
    return _UnitPlan(
        block="c1",
        kind="whitening",
        position=0,
        is_last=False,
        in_channels=in_channels,
        out_channels=2 * _WHITENED_DIRECTIONS,
        has_norm=False,
        has_dropout=False,
        has_pool=False,
    )


def _build_unit(config: NetworkConfig, plan: _UnitPlan) -> ConvUnit:
    convs = _build_convs(config, plan)
    pools_first = plan.has_pool and config.pool_order == "pool_first"
    pools_last = plan.has_pool and config.pool_order == "pool_last"
    body = OrderedDict[str, nn.Module](convs)
    if pools_first:
        body["pool"] = nn.MaxPool2d(2)
    followers: list[tuple[str, nn.Module]] = [("activation", _ACTIVATIONS[config.activation]())]
    if plan.has_norm:
        num_splits = config.norm_splits if config.norm == "ghost" else 1
        norm = GhostBatchNorm(plan.out_channels, num_splits=num_splits, frozen_scale=config.frozen_norm_scale)
        followers.insert(0 if config.norm_order == "norm_first" else 1, ("norm", norm))
    body.update(followers)
    if plan.has_dropout and config.dropout > 0:
        body["dropout"] = Dropout(config.dropout)
    growths = [sum(map_growth(conv, axis) for conv in convs.values()) for axis in (0, 1)]
    keeps_shape = plan.in_channels == plan.out_channels and growths == [0, 0] and not pools_first
    return ConvUnit(
        nn.Sequential(body),
        is_residual=config.residual and keeps_shape,
        pool=nn.MaxPool2d(2) if pools_last else None,
    )


def _build_convs(config: NetworkConfig, plan: _UnitPlan) -> dict[str, nn.Conv2d]:
    """The unit's convolutions by name, in order: one, or a depthwise and a pointwise one."""
    if plan.kind == "whitening":
        return {"conv": PatchWhitening(plan.in_channels, _WHITENED_DIRECTIONS)}
    # A norm right after the convolution, or after its max-pool, would cancel a bias.
    has_bias = not (plan.has_norm and config.norm_order == "norm_first")
    is_dilated = plan.kind == "dilated" or (plan.kind == "dilated_last" and plan.is_last)
    dilation = 2 if is_dilated else 1

    def conv(kernel_size: tuple[int, int], *, out_channels: int, groups: int = 1, bias: bool = has_bias) -> nn.Conv2d:
        padding = (dilation * (kernel_size[0] // 2), dilation * (kernel_size[1] // 2))
        if config.padding == "seed":
            padding = (2, 2) if is_dilated and plan.position == 0 else (1, 1)
        return Conv2d(
            plan.in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, groups=groups, bias=bias
        )

    if plan.kind == "depthwise_separable" or (plan.kind == "depthwise_separable_last" and plan.is_last):
        # Nothing lies between the two, so the pointwise bias covers both.
        depthwise = conv((3, 3), out_channels=plan.in_channels, groups=plan.in_channels, bias=False)
        return {"depthwise": depthwise, "pointwise": conv((1, 1), out_channels=plan.out_channels)}
    if plan.kind == "squeeze":
        return {"conv": conv((1, 1), out_channels=plan.out_channels)}
    if plan.kind == "spatially_separable":
        return {"conv": conv((3, 1) if plan.position == 0 else (1, 3), out_channels=plan.out_channels)}
    return {"conv": conv((3, 3), out_channels=plan.out_channels)}


def map_growth(conv: nn.Conv2d, axis: int) -> int:
    """Pixels by which a convolution of stride 1 grows a map's height (axis 0) or width (axis 1); negative: shrinks."""
    return 2 * int(conv.padding[axis]) - conv.dilation[axis] * (conv.kernel_size[axis] - 1)
