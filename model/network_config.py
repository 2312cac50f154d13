"""The shape of one network of the built-in family, validated when it is created."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from model.config_checks import check_range, check_types, unknown_key_message

ConvKind = Literal[
    "dense", "depthwise_separable", "depthwise_separable_last", "spatially_separable", "dilated", "dilated_last"
]
BLOCK_NAMES = ("c1", "c2", "c3", "output")


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """One block: an optional 1x1 squeeze, then `num_convs` convolutions of one kind. ValueError for a bad value."""

    kind: ConvKind = "dense"
    """dense: 3x3. dilated: 3x3 with dilation 2. dilated_last: dense, but the block's last has dilation 2.
    depthwise_separable: depthwise 3x3, then pointwise 1x1. depthwise_separable_last: dense, but the block's last is
    depthwise separable. spatially_separable: (3, 1) then (1, 3), both dense over channels; requires num_convs = 2."""
    num_convs: int = 2
    """Convolutions after the squeeze, 1..4."""
    squeeze_width: int = 0
    """Output channels of the 1x1 squeeze, 1..4096; 0 leaves it out."""
    inner_width: int = 64
    """Output channels of all convolutions but the block's last, 1..4096."""
    width: int = 64
    """Output channels of the block's last convolution, 1..4096."""

    def __post_init__(self) -> None:
        check_types(self)
        check_range("num_convs", self.num_convs, 1, 4)
        check_range("squeeze_width", self.squeeze_width, 0, 4096)
        check_range("inner_width", self.inner_width, 1, 4096)
        check_range("width", self.width, 1, 4096)
        if self.kind == "spatially_separable" and self.num_convs != 2:
            raise ValueError(
                f"`num_convs` must be 2 in a spatially_separable block: (3, 1) and (1, 3); got {self.num_convs}."
            )


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Three blocks, an output block and what they share. ValueError for a value of the wrong type or out of range."""

    stem: Literal["none", "whitening"] = "none"
    """whitening: before c1, a fixed convolution that whitens 3x3 patches to 24 channels, with an activation (see
    `model.whitening`)."""
    c1: BlockConfig = BlockConfig()
    c2: BlockConfig = BlockConfig()
    c3: BlockConfig = BlockConfig()
    output: BlockConfig = BlockConfig()
    activation: Literal["relu", "gelu", "silu", "celu"] = "relu"
    norm: Literal["batch", "ghost"] = "batch"
    norm_splits: int = 1
    """Parts of a batch that ghost batch norm normalises separately, 1..8; ignored if norm = "batch"."""
    frozen_norm_scale: bool = False
    """Fix the scale of the norms at 1 and learn only their shift."""
    output_norm: bool = True
    """Whether the output block has norms, and with them dropout."""
    norm_order: Literal["norm_first", "activation_first"] = "norm_first"
    pool_order: Literal["pool_first", "pool_last"] = "pool_last"
    """Whether a block's max-pool comes right after its last convolution, or after its last norm and activation."""
    padding: Literal["same", "seed"] = "same"
    """same: every convolution keeps the size of the map. seed: the original notebook's padding, 2 in a block's first
    dilated convolution and 1 elsewhere, so 1x1 and separable convolutions grow the map and the second dilated
    convolution shrinks it."""
    residual: bool = False
    """Add a convolution's input to its output if both have the same shape."""
    head: Literal["average", "average_and_max"] = "average"
    """What the classifier sees of each channel's map: its average, or half of average plus maximum."""
    dropout: float = 0.0
    """Drop probability after every norm except the first of the network, 0 <= dropout < 1."""

    def __post_init__(self) -> None:
        check_types(self)
        check_range("norm_splits", self.norm_splits, 1, 8)
        check_range("dropout", self.dropout, 0, 1, below=True)

    def flat(self) -> dict[str, Any]:
        """All values by name, with block keys like `c1_width`: the form used in search spaces, tables and files."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, BlockConfig):
                values |= {f"{field.name}_{key}": part for key, part in dataclasses.asdict(value).items()}
            else:
                values[field.name] = value
        return values

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> NetworkConfig:
        """The inverse of `flat`. Missing keys take their defaults; ValueError names an unknown key or a bad value."""
        blocks: dict[str, dict[str, Any]] = {name: {} for name in BLOCK_NAMES}
        rest: dict[str, Any] = {}
        for key, value in values.items():
            if key not in NETWORK_KEYS:
                raise ValueError(unknown_key_message(key, NETWORK_KEYS))
            block, _, part = key.partition("_")
            if block in blocks and part in _BLOCK_KEYS:
                blocks[block][part] = value
            else:
                rest[key] = value
        rest |= {name: BlockConfig(**parts) for name, parts in blocks.items()}
        return cls(**rest)


_BLOCK_KEYS = frozenset(field.name for field in dataclasses.fields(BlockConfig))
NETWORK_KEYS: tuple[str, ...] = tuple(NetworkConfig().flat())
"""Every key of a network's flat config, in a stable order."""

SEED_NETWORK = NetworkConfig(
    c1=BlockConfig(kind="dense", inner_width=32, width=32),
    # The notebook calls this depthwise separable, but (3, 1) then (1, 3), dense over channels, is spatially separable.
    c2=BlockConfig(kind="spatially_separable", squeeze_width=16, inner_width=64, width=64),
    c3=BlockConfig(kind="dilated", squeeze_width=32, inner_width=128, width=128),
    output=BlockConfig(kind="dense", inner_width=256, width=64),
    activation="relu",
    norm="ghost",
    norm_splits=2,
    frozen_norm_scale=True,
    output_norm=False,
    norm_order="activation_first",
    pool_order="pool_last",
    padding="seed",
    dropout=0.1,
)
"""The original notebook's network, of 657,146 parameters."""
