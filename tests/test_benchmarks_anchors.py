from pathlib import Path

import pytest
import torch
from small_training import shared

from benchmarks.anchor_recipes import airbench_cut, convmixer
from benchmarks.anchors import train


def test_convmixer_has_its_published_size() -> None:
    network = convmixer(shared(size=32)).network
    # Its authors' 10 classes instead of the 2 of these images add 8 rows of 257.
    assert sum(parameter.numel() for parameter in network.parameters()) + 8 * 257 == 594_186


@pytest.mark.parametrize("make", [convmixer, airbench_cut])
def test_an_anchor_goes_on_after_the_last_finished_epoch(make: object, tmp_path: Path) -> None:
    images = shared(num=40, size=32)
    for num_epochs in (1, 2):
        torch.manual_seed(0)
        anchor = make(images)  # type: ignore[operator]
        network = train(anchor, images, num_epochs=num_epochs, seed=0, folder=tmp_path)
    assert torch.isfinite(network(torch.randn(2, 3, 32, 32))).all()
    assert [path.name[:10] for path in sorted(tmp_path.iterdir())] == ["epoch-0001", "epoch-0002"]
