"""Everything about one GPU that has to be measured on one, in under 10 minutes: `python -m benchmarks.gpu --out F`.

Speed of training the seed network and the space's default: eager and compiled, with a CUDA graph of the whole step, as
trials side by side, and as seeds fused into one network; over R0 (the usual script) and over airbench's loop. Images/s
are of 32x32 images. Each part that fails or finds no time left says so in the JSON, which is rewritten after each part.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch

from benchmarks.airbench import airbench_epoch
from benchmarks.conditions import parser, write_result
from benchmarks.fused_seeds import fused_epoch
from benchmarks.graphed_step import graphed_epoch
from benchmarks.pairs import measure_pairs
from benchmarks.references import default_config
from benchmarks.training import random_images, shared_images, usual_epoch
from model.config import SEED_CONFIG, TrainConfig
from model.device_errors import telling_line
from model.engine import Engine, give_back_memory
from model.engine_choice import STEPS_PER_TRAINING, choose_engine
from model.split_images import ImageTensors
from model.training import Training
from search.machine.packing import MEASURE_S, throughput_processes

_READINGS = 3
_FOREVER = 1_000_000
Part = Callable[[], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured."""

    device: str = "cuda"
    num_images: int = 50_000
    num_usual_images: int = 10_240
    """For R0, whose DataLoader decides its speed."""
    num_trials: tuple[int, ...] = (1, 2, 4, 8, 16)
    num_seeds: tuple[int, ...] = (1, 2, 4, 8)
    limit_s: float = 480.0
    """No part starts after this."""


SMOKE = Scale(device="cpu", num_images=32, num_usual_images=288, num_trials=(), num_seeds=(2,))
"""Every part on a few images and the CPU, so that the script's own mistakes show without a GPU."""


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--smoke", action="store_true", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    scale = SMOKE if arguments.smoke else Scale()
    if scale.device == "cuda" and not torch.cuda.is_available():
        print("not measured: no GPU", file=sys.stderr)
        raise SystemExit(2)
    start = time.monotonic()
    result: dict[str, Any] = {"benchmark": "gpu", "gpu": _gpu_facts(), "smoke": arguments.smoke, "parts": {}}
    engine, result["engine_choices"] = choose_engine(
        scale.device,
        num_threads=arguments.threads,
        precision="fp32" if arguments.smoke else "auto",
        steps_per_training=STEPS_PER_TRAINING,
    )
    result["engine"] = asdict(engine)
    for name, part in _parts(scale, replace(engine, compile=False)).items():
        result["parts"][name] = _outcome(part, time.monotonic() - start > scale.limit_s)
        give_back_memory(engine)
        print(f"{time.monotonic() - start:5.0f} s  {name}: {result['parts'][name]}", flush=True)
        write_result(arguments.out, result)


def _outcome(part: Part, is_late: bool) -> dict[str, Any]:
    if is_late:
        return {"skipped": "no time left"}
    try:
        return part()
    except Exception as error:  # the parts after it are worth as much
        return {"error": f"{type(error).__name__}: {telling_line(error)}"}


def _parts(scale: Scale, engine: Engine) -> dict[str, Part]:
    """By name, the most wanted first."""
    images = _images(scale.num_images, scale.num_images // 10, engine)
    configs = {
        name: config.changed(batch_size=min(config.recipe.batch_size, scale.num_images // 4))
        for name, config in {"seed": SEED_CONFIG, "default": default_config()}.items()
    }
    compiled = replace(engine, compile=scale.device == "cuda")
    parts: dict[str, Part] = {}
    for name, config in configs.items():
        parts[f"{name}: eager"] = partial(_epochs, config, images, engine)
        parts[f"{name}: CUDA graph of the step"] = partial(_graphed, config, images, engine)
        parts[f"{name}: compiled"] = partial(_epochs, config, images, compiled)
        parts[f"{name}: CUDA graph of the compiled step"] = partial(_graphed, config, images, compiled)
    parts["seed: over R0"] = partial(_over_usual, scale, engine)
    parts["seed: over airbench"] = partial(_over_airbench, configs["seed"], images, engine)
    parts["airbench compiled"] = partial(_airbench, images, compiled)
    for name, config in configs.items():
        parts[f"{name}: trials side by side"] = partial(_side_by_side, scale, config, engine)
        parts[f"{name}: seeds fused"] = partial(_fused, scale, config, images, engine)
    parts["seed: deterministic algorithms"] = partial(_deterministic, configs["seed"], images, engine)
    parts["seed: host waits of an epoch"] = partial(_host_waits, configs["seed"], images, engine)
    return parts


def _for_training(images: ImageTensors) -> ImageTensors:
    """Without validation images, so that an epoch trains and does not evaluate."""
    return replace(images, val_indices=images.val_indices[:0])


def _images(num_images: int, num_val: int, engine: Engine) -> ImageTensors:
    return shared_images(*random_images(num_images), num_val, engine)


def _training(config: TrainConfig, images: ImageTensors, engine: Engine) -> Training:
    return Training(config, images, max_epochs=_FOREVER, seed=0, engine=engine)


def _epoch(config: TrainConfig, images: ImageTensors, engine: Engine) -> Callable[[], float]:
    """A function that trains an epoch and returns its images/s."""
    training = _training(config, images, engine)
    return lambda: training.train_epoch().images_per_s


def _speeds(epoch: Callable[[], float]) -> dict[str, Any]:
    """Of a function that trains and returns images/s, after one call as warm-up."""
    start = time.perf_counter()
    epoch()
    first_s = time.perf_counter() - start
    readings = [epoch() for _ in range(_READINGS)]
    return {"images_per_s": statistics.median(readings), "readings": readings, "first_epoch_s": first_s}


def _epochs(config: TrainConfig, images: ImageTensors, engine: Engine) -> dict[str, Any]:
    """Without evaluation and with it."""
    with_evaluation, without = (_speeds(_epoch(config, one, engine)) for one in (images, _for_training(images)))
    return {**without, "with_evaluation": with_evaluation}


def _graphed(config: TrainConfig, images: ImageTensors, engine: Engine) -> dict[str, Any]:
    return _speeds(graphed_epoch(_training(config, images, engine)))


def _over_usual(scale: Scale, engine: Engine) -> dict[str, Any]:
    images, labels = random_images(scale.num_usual_images)
    num_val = scale.num_usual_images // 10
    ours = _epoch(SEED_CONFIG, shared_images(images, labels, num_val, engine), engine)
    reference = usual_epoch(images, labels, num_val, engine)
    return measure_pairs("images/s over R0's", ours, reference, num_pairs=_READINGS).summary()


def _over_airbench(config: TrainConfig, images: ImageTensors, engine: Engine) -> dict[str, Any]:
    """Both without evaluation."""
    ours = _epoch(config, _for_training(images), engine)
    reference = airbench_epoch(images.images, images.labels, engine)
    return measure_pairs("images/s over airbench's", ours, reference, num_pairs=_READINGS).summary()


def _airbench(images: ImageTensors, engine: Engine) -> dict[str, Any]:
    return _speeds(airbench_epoch(images.images, images.labels, engine))


def _side_by_side(scale: Scale, config: TrainConfig, engine: Engine) -> dict[str, Any]:
    with throughput_processes(config, engine, image_size=32) as measure:
        return {str(count): asdict(measure(count, 1, MEASURE_S)) for count in scale.num_trials}


def _fused(scale: Scale, config: TrainConfig, images: ImageTensors, engine: Engine) -> dict[str, Any]:
    return {str(count): _speeds(fused_epoch(config, images, engine, count)) for count in scale.num_seeds}


def _deterministic(config: TrainConfig, images: ImageTensors, engine: Engine) -> dict[str, Any]:
    with torch.backends.cudnn.flags(enabled=True, benchmark=True, deterministic=True, allow_tf32=False):
        return _epochs(config, images, engine)


def _host_waits(config: TrainConfig, images: ImageTensors, engine: Engine) -> dict[str, Any]:
    training = _training(config, images, engine)
    training.train_epoch()
    with counted_waits(engine) as waits:
        training.train_epoch()
    return {"steps": training.steps_per_epoch, "waits": len(waits), "texts": sorted(set(waits))}


@contextmanager
def counted_waits(engine: Engine) -> Iterator[list[str]]:
    """Yields a list that gets a line for every call in the block that makes the host wait for a GPU."""
    waits: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if engine.device_type == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            if engine.device_type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    waits += [f"{warning.filename}:{warning.lineno}" for warning in caught if "synchroniz" in str(warning.message)]


def _gpu_facts() -> dict[str, Any] | None:
    if not torch.cuda.is_available():
        return None
    facts = torch.cuda.get_device_properties(0)
    return {
        "name": facts.name,
        "memory_bytes": facts.total_memory,
        "capability": f"{facts.major}.{facts.minor}",
        "multiprocessors": facts.multi_processor_count,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }


if __name__ == "__main__":
    main()
