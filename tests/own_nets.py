"""Networks of a user, as files, and what is wrong with some."""

from __future__ import annotations

from pathlib import Path

GOOD = """\
from torch import nn

SPACE = {
    "width": {"kind": "int", "low": 4, "high": 8, "default": 4},
    "bias": True,
}


def build(config, *, num_classes, image_size):
    from blocks import stage
    return nn.Sequential(stage(config["width"], config["bias"]), nn.Flatten(), nn.Linear(config["width"], num_classes))
"""
BLOCKS = """\
from torch import nn


def stage(width, bias):
    if width % 2:
        raise ValueError(f"width must be even; got {width}")
    layers = [nn.Conv2d(3, width, 3, padding=1, bias=bias), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1))
"""


def write_nets(folder: Path, text: str = GOOD) -> str:
    """Writes my_nets.py and the blocks.py it imports; gives what --network takes."""
    folder.mkdir(exist_ok=True)
    (folder / "my_nets.py").write_text(text)
    (folder / "blocks.py").write_text(BLOCKS)
    return f"{folder / 'my_nets.py'}:build"
