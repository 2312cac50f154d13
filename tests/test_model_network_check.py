"""What is wrong with a network is found before a run, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_nets import write_nets

from model.builder import NetworkError
from model.config import TrainConfig
from model.network_check import check_network
from model.network_source import builder_of, read_source

HEAD = "import random\nimport torch\nfrom torch import nn\n"
BUILD = "def build(config, *, num_classes, image_size):\n"
NET = f"""{HEAD}class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.bn, self.fc = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, num_classes)
        self.calls = 0
    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        return self.fc(x.mean((2, 3)))
{BUILD}    return Net(num_classes)
"""


def check(folder: Path, text: str) -> None:
    source, _ = read_source(write_nets(folder, text))
    config = TrainConfig.from_flat({"lr": 0.01})
    check_network(builder_of(source), config, num_classes=3, image_size=8)


def test_a_good_network_passes(tmp_path: Path) -> None:
    check(tmp_path, NET)
    check(
        tmp_path,
        NET.replace("return self.fc(", "return self.fc(torch.dropout(").replace(
            "(2, 3)))", "(2, 3)), 0.5, self.training))"
        ),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{HEAD}def build(config, num_classes):\n    return None\n",
            r"^my_nets\.py:4: must take \(config, \*, num_classes",
        ),
        (f"{HEAD}{BUILD}    return config['depth']\n", r"^my_nets\.py:5: KeyError: 'depth'$"),
        (f"{HEAD}{BUILD}    return 3\n", r"^my_nets\.py:4: must return a torch.nn.Module; got int$"),
        (f"{HEAD}{BUILD}    return nn.Flatten()\n", r"has no parameters to train"),
        (f"{HEAD}{BUILD}    return nn.LazyConv2d(4, 3)\n", r"has lazy layers"),
        (
            NET.replace("x.mean((2, 3))", "x.flatten(1)"),
            r"^my_nets\.py:11: fails on images \(8, 3, 8, 8\) in training: ",
        ),
        (
            NET.replace("self.fc(x.mean((2, 3)))", "x"),
            r"^my_nets\.py:9: must give logits of shape \(8, 3\) .*; got \(8, 4, 6, 6\)",
        ),
        (NET.replace("self.fc(x.mean((2, 3)))", "[x]"), r"; got list$"),
        (
            NET.replace("self.fc(x.mean((2, 3)))", "self.fc(x.mean((2, 3))) / 0 * 0"),
            "NaN or infinite logits in training",
        ),
        (NET.replace("nn.BatchNorm2d(4)", "nn.BatchNorm1d(4)"), r"^my_nets\.py:10: fails on images"),
        (
            NET.replace("self.calls = 0", "self.fc.weight.data *= random.random()"),
            "is not the same twice under one seed",
        ),
        (NET.replace("torch.relu(", "random.random() * torch.relu("), "does not train the same twice"),
        (
            NET.replace("        x = ", "        self.calls += self.training\n        x = ").replace(
                "torch.relu(", "(1 + self.calls) * torch.relu("
            ),
            "does not resume exactly",
        ),
    ],
)
def test_each_fault_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        check(tmp_path, text)
    assert "\n" not in str(caught.value)
