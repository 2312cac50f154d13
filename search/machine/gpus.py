"""The GPUs of a run, and the engine chosen on one of them."""

from __future__ import annotations

import math
import os
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch

from model.engine import Engine
from model.network_source import BUILT_IN, NetworkSource
from model.probe import SEED_PROBE, Probe
from search.errors import UserError
from search.machine.measuring import measuring_processes
from search.settings import SearchSettings
from search.text import size_text

_FREE_SHARE = 0.5
"""Share of a GPU's memory below which its free part is worth a warning."""
_MAX_ERROR = 240
"""Characters of PyTorch's error in a message; its advice about the allocator follows later."""


def num_gpus() -> int:
    """GPUs that torch sees here; Apple's counts as one."""
    if torch.cuda.is_available():
        # CUDA shows a process only one slice of a partitioned GPU. Ray gives each of its workers one of those named.
        slices = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.startswith("MIG-")]
        return max(torch.cuda.device_count(), len(slices))
    return int(torch.backends.mps.is_available())


def choose_device(settings: SearchSettings) -> tuple[str, list[str]]:
    """The device to train on (cuda, mps or cpu), and warnings. UserError if more GPUs are asked for than there are."""
    if settings.gpus == 0:
        return "cpu", []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = num_gpus()
    if available == 0:
        why = _why_no_gpu([str(warning.message) for warning in caught])
        if settings.strict:
            raise UserError(
                f"--gpus {settings.gpus}: no GPU is visible here ({why}). Leave out --strict to train on the CPU."
            )
        return "cpu", [
            f"--gpus {settings.gpus} was asked for but NO GPU is visible ({why}): training on the CPU, far slower."
        ]
    if settings.gpus > available:
        raise UserError(f"--gpus {settings.gpus}: only {available} visible here. Ask for {available} or fewer.")
    return ("cuda" if torch.cuda.is_available() else "mps"), []


def limited_to_visible_gpus(settings: SearchSettings, warn: Callable[[str], None]) -> SearchSettings:
    """The settings of a run that is resumed, perhaps with fewer GPUs than it had; unchanged if there is none."""
    visible = num_gpus()
    if not 0 < visible < settings.gpus:
        return settings
    warn(f"the run had {settings.gpus} GPUs and only {visible} are visible here: it goes on with fewer")
    return settings.changed(gpus=visible)


def choose_gpu_engine(
    settings: SearchSettings,
    device: str,
    network: NetworkSource = BUILT_IN,
    probe: Probe = SEED_PROBE,
    **choose: Any,
) -> tuple[Engine, list[dict[str, Any]], list[str]]:
    """`choose_engine` in a separate process, with warnings about memory that others use and about engines that
    cannot train an own network.

    This process then holds no memory on a GPU, and a GPU that takes one process at a time is free for a trial.
    UserError if the probe, of `network`, cannot train on the GPU.
    """
    request: dict[str, Any] = {
        "choose": {"device": device, "precision": settings.precision, **choose},
        "gpus": settings.gpus,
    }
    if not network.is_built_in:
        request["probe"] = {**vars(probe), "build": asdict(network)}
    with measuring_processes() as ask:
        [answer] = ask(1, request, math.inf)
    if "error" in answer:
        hint = ", try --precision auto" if settings.precision == "bf16" else ""
        raise UserError(
            f"--gpus {settings.gpus}: the {'seed' if network.is_built_in else 'own'} network cannot train on the GPU: "
            f"{textwrap.shorten(answer['error'], _MAX_ERROR, placeholder='').rstrip(' .')}. Free the GPU, choose "
            f"another with CUDA_VISIBLE_DEVICES{hint} or leave out --gpus."
        )
    left_out = [] if network.is_built_in else answer["left_out"]
    failures = [f"the network cannot train with {failure}; it trains without" for failure in left_out]
    memory = _memory_warnings(answer["memory"], answer["needed"])
    return Engine(**answer["engine"]), answer["rows"], [*failures, *memory]


def _memory_warnings(memory: Sequence[tuple[int, int]], needed: float) -> Iterator[str]:
    """`memory`: [free, total] bytes of each GPU. UserError for one without the `needed` bytes: its trials would fail
    at once, and with every slot that they free it would take the next ones.
    """
    for index, (free, total) in enumerate(memory):
        line = f"visible GPU {index} has only {size_text(free)} of {size_text(total)} free: other programs use it"
        if free < needed:
            raise UserError(f"{line}. Free it or name the others in CUDA_VISIBLE_DEVICES.")
        if free < _FREE_SHARE * total:
            yield f"{line}, so trials there may run out of memory"


def _why_no_gpu(messages: list[str]) -> str:
    """The reason in a few words. `messages`: what torch warned of while it looked."""
    if torch.version.cuda is None and torch.version.hip is None:
        return "this torch is built without GPU support"
    if messages:  # such as a driver that is too old
        return messages[0].removeprefix("CUDA initialization: ").partition(". ")[0].splitlines()[0]
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        if name in os.environ:
            return f"{name} is {os.environ[name]!r}"
    return "torch finds no driver or no GPU"
