"""What a run says and does on machines with other GPUs than this one: torch's facts about them are made up."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from run_documents import make_document
from small_training import shared

from model.config import TrainConfig
from model.engine import Engine
from search.errors import UserError
from search.machine import packing
from search.machine.gpus import choose_device, limited_to_visible_gpus, num_gpus
from search.machine.hardware import describe_hardware
from search.machine.machine import Machine
from search.settings import SearchSettings
from search.setup.run_folder import read_machine
from search.worker.trainable import TrialPlan, train_trial

GIB = 2**30
Answer = dict[str, Any]


def settings(**values: object) -> SearchSettings:
    return SearchSettings(run_name="r", **values)  # type: ignore[arg-type]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what torch says of this machine, and the variables that hide GPUs."""

    def facts(
        *, cuda: int = 0, mps: bool = False, version: str | None = "13.0", hip: str | None = None, **variables: str
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(torch.version, "cuda", version)
        monkeypatch.setattr(torch.version, "hip", hip)
        for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return facts


@pytest.mark.parametrize(
    ("facts", "expected", "device"),
    [
        ({"cuda": 8}, 8, "cuda"),
        ({"cuda": 1, "CUDA_VISIBLE_DEVICES": "2"}, 1, "cuda"),
        ({"cuda": 2, "version": None, "hip": "7.0", "HIP_VISIBLE_DEVICES": "0,1"}, 2, "cuda"),
        ({"cuda": 1, "CUDA_VISIBLE_DEVICES": "MIG-a,MIG-b,MIG-c"}, 3, "cuda"),
        ({"mps": True, "version": None}, 1, "mps"),
    ],
    ids=["eight", "the third alone", "ROCm", "MIG slices", "Apple"],
)
def test_visible_gpus_are_counted_and_used(
    pretend: Callable[..., None], facts: dict[str, Any], expected: int, device: str
) -> None:
    pretend(**facts)
    assert num_gpus() == expected
    assert choose_device(settings(gpus=expected)) == (device, [])
    with pytest.raises(UserError, match=f"--gpus 9: only {expected} visible here"):
        choose_device(settings(gpus=9))
    assert choose_device(settings()) == ("cpu", [])


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"version": None}, "this torch is built without GPU support"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES is ''"),
        ({"version": None, "hip": "7.0", "HIP_VISIBLE_DEVICES": "-1"}, "HIP_VISIBLE_DEVICES is '-1'"),
        ({}, "torch finds no driver or no GPU"),
    ],
)
def test_without_a_gpu_one_line_says_why(pretend: Callable[..., None], facts: dict[str, Any], why: str) -> None:
    pretend(**facts)
    device, [line] = choose_device(settings(gpus=1))
    assert device == "cpu"
    assert line == f"--gpus 1 was asked for but NO GPU is visible ({why}): training on the CPU, far slower."
    with pytest.raises(UserError, match="no GPU is visible here") as caught:
        choose_device(settings(gpus=1, strict=True))
    assert why in str(caught.value)


def test_a_driver_that_is_too_old_is_the_reason_and_not_a_warning_of_torchs(
    pretend: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_available() -> bool:
        warnings.warn(
            "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040). Please update "
            "your GPU driver by downloading and installing a new version (Triggered internally at /c10/cuda.cpp:109.)",
            stacklevel=2,
        )
        return False

    pretend()
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, [line] = choose_device(settings(gpus=1))
    assert "(The NVIDIA driver on your system is too old (found version 11040)): training on the CPU" in line


@pytest.mark.parametrize(("visible", "left"), [(8, 8), (3, 3), (0, 8)])
def test_a_resumed_run_goes_on_with_the_gpus_that_are_left(
    pretend: Callable[..., None], visible: int, left: int
) -> None:
    pretend(cuda=visible)
    said: list[str] = []
    assert limited_to_visible_gpus(settings(gpus=8), said.append) == settings(gpus=left)
    assert len(said) == (left != 8)


@pytest.mark.parametrize("name", ["NVIDIA H100", "GeForce GTX 1650"])
def test_what_was_measured_on_other_gpus_is_not_kept(
    pretend: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    pretend(cuda=2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: name)
    document = make_document()
    hardware = document.hardware.model_copy(update={"gpus": ("NVIDIA H100", "NVIDIA H100")})
    engine = Engine(device="cuda", precision="bf16")
    document = document.model_copy(update={"engine": engine, "hardware": hardware})
    (tmp_path / "run.toml").write_text(document.to_toml())
    machine = read_machine(tmp_path, document.settings)
    assert machine == (Machine(engine=engine, slots=document.slots) if name == "NVIDIA H100" else None)


@pytest.mark.parametrize(
    ("num_gpus", "num_trials", "fit", "expected"),
    [(2, 100, 1, 1), (2, 100, 2, 2), (2, 100, 8, 8), (8, 20, 8, 3), (8, 3, 8, 1)],
    ids=["4 GB", "8 GB", "80 GB", "eight GPUs", "more GPUs than trials"],
)
def test_trials_share_gpus_as_far_as_memory_goes_and_no_gpu_is_left_idle(
    monkeypatch: pytest.MonkeyPatch, num_gpus: int, num_trials: int, fit: int, expected: int
) -> None:
    """A card that holds `fit` trainings with the config's own batch, and any number with the batch that is timed."""

    @contextlib.contextmanager
    def processes(_num_started: int) -> Iterator[Callable[..., list[Answer]]]:
        yield answer

    def answer(number: int, request: Answer, _deadline: float) -> list[Answer]:
        if request["config"]["batch_size"] == 512 and number > fit:
            return [{"memory_bytes": 1e9}] * fit + [{"error": "CUDA out of memory."}] * (number - fit)
        return [{"images_per_s": 1000.0, "image_s": 1e-3, "slowdown": 1.0, "memory_bytes": 1e9}] * number

    monkeypatch.setattr(packing, "measuring_processes", processes)
    config = TrainConfig.from_flat({"batch_size": 512})
    asked = settings(gpus=num_gpus, num_trials=num_trials)
    slots, _ = packing.choose_slots(asked, Engine(device="cuda"), config, num_cpus=16, image_size=32)
    assert slots.num_concurrent == num_gpus * expected
    assert slots.gpus_per_trial == pytest.approx(1 / expected)


def test_a_gpu_that_torch_cannot_use_has_no_name(pretend: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    pretend()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # NVML counts a GPU whose driver is too old
    assert describe_hardware()["gpus"] == ()


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_worker_whose_gpu_is_lost_ends_and_others_report(monkeypatch: pytest.MonkeyPatch, is_lost: bool) -> None:
    """A raised error ends the worker, and the trial starts again in a new one."""
    monkeypatch.setattr("search.worker.trainable.is_device_lost", lambda engine: is_lost)
    plan = TrialPlan(max_epochs=1, rung_epochs=(), engine=Engine())
    assignment = {"trial_number": 0, "trial_seed": 1, "config": {"optimizer": "magic"}, "epochs_recorded": 0}
    reports: list[Answer] = []
    with pytest.raises(ValueError, match="magic") if is_lost else contextlib.nullcontext():
        train_trial(assignment, shared(), plan, reports.append)
    assert [report["ended"] for report in reports] == ([] if is_lost else ["failed"])
