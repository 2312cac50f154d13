"""One config: the shape of the network and its training recipe, validated when it is created."""

from __future__ import annotations

import dataclasses
import difflib
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

ConvKind = Literal["dense", "depthwise_separable", "spatially_separable", "dilated", "dilated_last"]
BLOCK_NAMES = ("c1", "c2", "c3", "output")


def unknown_key_message(key: str, known: tuple[str, ...]) -> str:
    """One line with the unknown key, the known key most like it, and all known keys."""
    close = difflib.get_close_matches(key, known, n=1)
    hint = f" Did you mean `{close[0]}`?" if close else ""
    return f"unknown key `{key}`.{hint} Known keys: {', '.join(known)}."


def _check_range(name: str, value: float, low: float, high: float, *, below: bool = False) -> None:
    is_inside = low <= value < high if below else low <= value <= high
    if not is_inside:
        raise ValueError(f"`{name}` must satisfy {low} <= {name} {'<' if below else '<='} {high}; got {value}.")


def _check_choices(config: object) -> None:
    """Raise ValueError unless every value has its declared type and every Literal is one of its choices."""
    for name, hint in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise ValueError(f"`{name}` must be one of {', '.join(get_args(hint))}; got {value!r}.")
        elif hint is bool:
            if not isinstance(value, bool):
                raise ValueError(f"`{name}` must be true or false; got {value!r}.")
        elif hint is int:
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"`{name}` must be a whole number; got {value!r}.")
        elif hint is float and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"`{name}` must be a number; got {value!r}.")


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """One block: an optional 1x1 squeeze, then `num_convs` convolutions of one kind. ValueError for a bad value."""

    kind: ConvKind = "dense"
    """dense: 3x3. dilated: 3x3 with dilation 2. dilated_last: dense, but the block's last has dilation 2.
    depthwise_separable: depthwise 3x3, then pointwise 1x1. spatially_separable: (3, 1) then (1, 3), both dense over
    channels; requires num_convs = 2."""
    num_convs: int = 2
    """Convolutions after the squeeze, 1..4."""
    squeeze_width: int = 0
    """Output channels of the 1x1 squeeze, 1..4096; 0 leaves it out."""
    inner_width: int = 64
    """Output channels of all convolutions but the block's last, 1..4096."""
    width: int = 64
    """Output channels of the block's last convolution, 1..4096."""

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_range("num_convs", self.num_convs, 1, 4)
        _check_range("squeeze_width", self.squeeze_width, 0, 4096)
        _check_range("inner_width", self.inner_width, 1, 4096)
        _check_range("width", self.width, 1, 4096)
        if self.kind == "spatially_separable" and self.num_convs != 2:
            raise ValueError(
                f"`num_convs` must be 2 in a spatially_separable block: (3, 1) and (1, 3); got {self.num_convs}."
            )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The network one trial trains and its recipe. The run, not the config, sets the number of epochs.

    ValueError for a value of the wrong type or out of range.
    """

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
    dropout: float = 0.0
    """Drop probability after every norm except the first of the network, 0 <= dropout < 1."""

    optimizer: Literal["sgd", "nesterov", "adamw"] = "nesterov"
    lr: float = 0.1
    """Peak learning rate of SGD, with or without Nesterov, above 0; ignored by AdamW."""
    momentum: float = 0.9
    """Momentum of SGD, 0 <= momentum < 1; ignored by AdamW."""
    weight_decay: float = 5e-4
    """L2 penalty of SGD, coupled with its learning rate, 0..100; ignored by AdamW."""
    adamw_lr: float = 5e-3
    """Peak learning rate of AdamW, above 0; ignored by SGD."""
    adamw_weight_decay: float = 0.05
    """Decoupled weight decay of AdamW, 0..100; ignored by SGD."""
    batch_size: int = 256
    """Images per optimizer step, 1..65536."""
    schedule: Literal["step", "cosine", "one_cycle"] = "one_cycle"
    """step: times 0.92 every 2 epochs. cosine: from the peak to 0. one_cycle: linear to the peak, then linear to 0."""
    warmup_fraction: float = 0.2
    """Warm-up of cosine and one_cycle as a fraction of all steps, 0 <= fraction < 1; ignored by step."""
    label_smoothing: float = 0.0
    """Probability mass spread evenly over all classes, 0 <= label_smoothing < 1."""
    ema_decay: float = 0.0
    """Decay per step of a moving average of the parameters, which is then evaluated, 0 <= decay < 1; 0: off."""

    crop_padding: int = 4
    """Pixels of zero padding before a random crop back to the image's size, 0..64; 0: off."""
    flip: bool = True
    """Mirror each image left to right with probability 1/2."""
    rotation_degrees: float = 0.0
    """Largest rotation in either direction, in degrees, 0..180; 0: off."""
    cutout_size: int = 0
    """Side in pixels of a random square set to the mean colour, 0..256; 0: off."""

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_range("norm_splits", self.norm_splits, 1, 8)
        _check_range("batch_size", self.batch_size, 1, 65536)
        _check_range("crop_padding", self.crop_padding, 0, 64)
        _check_range("cutout_size", self.cutout_size, 0, 256)
        _check_range("rotation_degrees", self.rotation_degrees, 0, 180)
        for name in ("dropout", "warmup_fraction", "label_smoothing", "ema_decay", "momentum"):
            _check_range(name, getattr(self, name), 0, 1, below=True)
        for name in ("weight_decay", "adamw_weight_decay"):
            _check_range(name, getattr(self, name), 0, 100)
        for name in ("lr", "adamw_lr"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"`{name}` must be a finite number above 0; got {value}.")

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
    def from_flat(cls, values: dict[str, Any]) -> TrainConfig:
        """The inverse of `flat`. Missing keys take their defaults; ValueError names an unknown key or a bad value."""
        blocks: dict[str, dict[str, Any]] = {name: {} for name in BLOCK_NAMES}
        rest: dict[str, Any] = {}
        for key, value in values.items():
            if key not in CONFIG_KEYS:
                raise ValueError(unknown_key_message(key, CONFIG_KEYS))
            block, _, part = key.partition("_")
            if block in blocks and part in _BLOCK_KEYS:
                blocks[block][part] = value
            else:
                rest[key] = value
        rest |= {name: BlockConfig(**parts) for name, parts in blocks.items()}
        return cls(**rest)


_BLOCK_KEYS = frozenset(field.name for field in dataclasses.fields(BlockConfig))
CONFIG_KEYS: tuple[str, ...] = tuple(TrainConfig().flat())
"""Every key of a flat config, in a stable order."""

SEED_CONFIG = TrainConfig(
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
    optimizer="sgd",
    lr=0.016,
    momentum=0.9,
    weight_decay=0.0,
    batch_size=256,
    schedule="step",
    crop_padding=4,
    flip=True,
    rotation_degrees=8.0,
)
"""The original notebook's network (657,146 parameters) and recipe: trial 0 and a baseline on 32x32 images."""
