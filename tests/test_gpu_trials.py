"""Trials on a real GPU: side by side, out of memory, on a lost device, and a whole run: `make test-gpu`."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import BUSY, TINY, shared
from test_gpu_training import GPU, GPU_FAST, moved
from tiny_space import TINY as TINY_SPACE

import search
from model.config import SEED_CONFIG
from search.machine.packing import MEASURE_S, choose_slots, throughput_processes
from search.settings import SearchSettings
from search.worker.trainable import TrialPlan, train_trial

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
ROOT = Path(search.__file__).parent.parent


def test_two_processes_train_on_one_gpu() -> None:
    with throughput_processes(SEED_CONFIG, GPU_FAST, image_size=32) as measure:
        one, two = measure(1, 1, MEASURE_S), measure(2, 1, MEASURE_S)
    assert one.images_per_s > 0
    assert two.images_per_s > 0.8 * one.images_per_s
    assert 10**8 < two.memory_bytes < torch.cuda.get_device_properties(0).total_memory


def test_packing_fills_the_gpu() -> None:
    slots, tried = choose_slots(SearchSettings(run_name="r", gpus=1), GPU_FAST, BUSY, num_cpus=4, image_size=16)
    best = max(tried, key=lambda packing: packing.images_per_s)
    assert best.images_per_s > 0
    assert slots.num_concurrent * slots.gpus_per_trial == pytest.approx(1)
    assert tried[0].num_trials == 1


@pytest.fixture
def little_memory() -> Iterator[None]:
    """This process may have half a gigabyte more than it has."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**29) / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.usefixtures("little_memory")
def test_a_trial_without_memory_fails_alone() -> None:
    images = moved(shared(num=3000, num_val=24, size=32), GPU)
    plan = TrialPlan(max_epochs=2, rung_epochs=(1,), engine=GPU)
    big = SEED_CONFIG.changed(batch_size=2900)
    ends = []
    for number, config in enumerate((TINY, big, TINY)):
        reports: list[dict[str, Any]] = []
        assignment = {"trial_number": number, "trial_seed": 1, "config": config.flat(), "epochs_recorded": 0}
        train_trial(assignment, images, plan, reports.append)
        ends.append(reports[-1])
    assert [end.get("epoch") for end in ends] == [2, None, 2]
    assert ends[1]["ended"] == "failed"
    assert ends[1]["error"].startswith("out of memory: ")


LOST = """
import torch
from model.device_errors import is_device_lost, is_out_of_memory, telling_line
from model.engine import Engine
engine = Engine(device="cuda")
assert not is_device_lost(engine)
try:
    torch.zeros(3, device="cuda")[torch.tensor([7], device="cuda")].cpu()
except RuntimeError as error:
    print(is_device_lost(engine), is_out_of_memory(error), telling_line(error))
"""


def test_a_lost_device_is_noticed() -> None:
    # Unchecked: such a process may not even end cleanly.
    done = subprocess.run([sys.executable, "-c", LOST], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("True False ")
    assert "device-side assert" in done.stdout


DRIVER = """
import torch
from search.machine.gpus import choose_gpu_engine
from search.machine.hardware import describe_hardware
from search.settings import SearchSettings
settings = SearchSettings(run_name="r", gpus=1)
engine, rows, warnings = choose_gpu_engine(settings, "cuda", num_threads=2, steps_per_training=0)
print(engine.device, len(rows), describe_hardware()["gpus"], torch._C._cuda_hasPrimaryContext(0))
"""


def test_choosing_the_engine_leaves_the_gpu_to_the_trials() -> None:
    done = subprocess.run([sys.executable, "-c", DRIVER], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cuda 3 ")
    assert done.stdout.split()[-1] == "False", "the driver holds a context on the GPU"


def tune(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tune_main.py"), *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=400)


def test_a_whole_run_and_its_extension(tmp_path: Path) -> None:
    """AdamW in half of the configs: its state has a number that must come back to the GPU after a rung."""
    space = tmp_path / "space.toml"
    optimizers = 'optimizer = {kind = "choice", values = ["adamw", "sgd"], default = "adamw"}'
    space.write_text(TINY_SPACE.replace('optimizer = "nesterov"', optimizers))
    given = "--gpus 1 --strict --dataset digits --image-size 16 --trials 6 --epochs 4 --grace-period 1"
    first = tune(tmp_path, *given.split(), "--reduction-factor", "2", "--space", str(space), "--name", "r")
    assert first.returncode == 0, first.stderr[-2000:]
    folder = tmp_path / "results" / "r"
    document = tomllib.loads((folder / "run.toml").read_text())
    assert document["engine"]["device"] == "cuda"
    assert document["slots"]["gpus"] == 1
    assert (folder / "model.safetensors").exists()
    second = tune(tmp_path, "--resume", str(folder), "--trials", "8")
    assert second.returncode == 0, second.stderr[-2000:]
    run = search.load_run(folder)
    ended = run.trials[run.trials["status"].isin(["completed", "stopped"])]
    assert len(ended) == 8, run.trials[["status", "error"]].to_string()
