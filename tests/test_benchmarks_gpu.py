"""The GPU's benchmark without a GPU: its parts on the CPU, and seeds fused into one network against each alone."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import torch
from small_training import BUSY, TINY
from torch import nn
from torch.nn import functional

from benchmarks import gpu, references
from benchmarks.fused_seeds import fused_network, fused_state
from model.config import TrainConfig
from model.network import build


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_nothing_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--out", str(tmp_path / "gpu.json")])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "not measured: no GPU\n"
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.slow
def test_every_part_runs_and_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu", "--smoke", "--threads", "1", "--out", str(tmp_path / "gpu.json")])
    monkeypatch.setattr(gpu, "_READINGS", 1)
    monkeypatch.setattr(gpu, "SMOKE", dataclasses.replace(gpu.SMOKE, num_usual_images=40))
    monkeypatch.setattr(references, "BATCH_SIZE", 8)
    gpu.main()
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert result["smoke"]
    assert len(result["parts"]) == 17
    assert [name for name, part in result["parts"].items() if "error" in part or "skipped" in part] == []
    assert result["parts"]["seed: eager"]["images_per_s"] > 0
    assert result["parts"]["seed: over airbench"]["median_ratio"] > 0
    assert result["parts"]["default: seeds fused"]["2"]["images_per_s"] > 0


def test_a_part_that_fails_or_comes_too_late_says_so() -> None:
    def failing() -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert gpu._outcome(failing, False) == {"error": "OutOfMemoryError: CUDA out of memory."}
    assert gpu._outcome(failing, True) == {"skipped": "no time left"}
    assert gpu._outcome(lambda: {"images_per_s": 1.0}, False) == {"images_per_s": 1.0}


@pytest.mark.parametrize(
    "config",
    [
        BUSY.changed(dropout=0.0),
        TINY.changed(
            c2_kind="depthwise_separable",
            c2_num_convs=2,
            c3_kind="dilated",
            c3_num_convs=2,
            c3_squeeze_width=4,
            residual=True,
            padding="seed",
            activation="gelu",
        ),
    ],
    ids=["ghost", "separable"],
)
def test_fused_seeds_train_as_each_alone(config: TrainConfig) -> None:
    alone = [seeded(config, seed) for seed in range(3)]
    fused = fused_network(config, 5, 3)
    fused.load_state_dict(fused_state([network.state_dict() for network in alone]))
    images, labels = torch.randn(3, 12, 3, 16, 16), torch.randint(0, 5, (3, 12))
    logits = fused(images.transpose(0, 1).flatten(1, 2)).view(12, 3, 5)
    loss = torch.stack([functional.cross_entropy(logits[:, seed], labels[seed]) for seed in range(3)]).sum()
    torch.autograd.backward(loss)
    for seed, network in enumerate(alone):
        expected = network(images[seed])
        torch.autograd.backward(functional.cross_entropy(expected, labels[seed]))
        torch.testing.assert_close(logits[:, seed], expected, rtol=1e-4, atol=1e-5)
    for name, parameter in fused.named_parameters():
        grads = [network.get_parameter(name).grad for network in alone]
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, torch.cat(grads), rtol=1e-3, atol=1e-5)  # type: ignore[arg-type]
    after = fused_state([network.state_dict() for network in alone])
    torch.testing.assert_close(fused.state_dict(), after, rtol=1e-4, atol=1e-5)


def seeded(config: TrainConfig, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build(config.network, num_classes=5, image_size=16).train()
