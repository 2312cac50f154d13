"""How this machine trains fastest: precision, memory layout and compilation, chosen by a short measurement."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional

from model.config import SEED_CONFIG
from model.network import build_network

Precision = Literal["bf16", "fp32"]
PRECISIONS = ("auto", "bf16", "fp32")
_PROBE_BATCH = {"cpu": 32, "cuda": 256, "mps": 256}
_PROBE_STEPS = {"cpu": 3, "cuda": 30, "mps": 20}
_PROBE_SECONDS = 0.5
_HOPELESS = 3.0
STEPS_PER_TRAINING = 5000
"""As many as to compile for, unless more is known."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


@dataclass(frozen=True, kw_only=True)
class Engine:
    """The switches of one machine. The plain path, and the reference, is fp32 without any of them."""

    device: str = "cpu"
    """As torch spells it: cpu, cuda, cuda:1, mps."""
    precision: Precision = "fp32"
    """bf16 is torch's autocast: weights, norms and the loss stay fp32. fp32 is IEEE: TF32 is off."""
    channels_last: bool = False
    compile: bool = False
    """torch.compile the training step."""
    num_threads: int = 1
    """CPU threads of one training; results are repeatable to the bit for one number of them."""

    @property
    def device_type(self) -> str:
        return self.device.partition(":")[0]

    @property
    def dtype(self) -> torch.dtype:
        """Of the images that enter the network."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[None]:
        enabled = self.precision == "bf16"
        return torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=enabled)

    def apply(self) -> None:
        """Set this process's global switches, all of them, so that none is inherited from an earlier training."""
        _keep_freed_memory()
        # Far below zero the gradient of GELU or CELU is too small for a normal number, and one step then takes a CPU up
        # to eight times as long. For this thread, and for those of OpenMP that it will start.
        torch.set_flush_denormal(True)
        torch.set_num_threads(self.num_threads)
        torch.set_float32_matmul_precision("highest")
        if self.device_type == "cuda":
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.benchmark = True


def give_back_memory() -> None:
    """Return the pages of freed blocks to the system, before a training that is none of the last one's size.

    Within a training they are kept, see below. Kept from one to the next they pile up, as the blocks of one network do
    not fit the holes that another left: 30 trials in one worker came to hold 13 GB, of which one trial needed 4.
    """
    if (libc := _libc()) is not None:
        libc.malloc_trim(0)


@functools.cache
def _keep_freed_memory() -> None:
    """Tell glibc to keep large freed blocks: given back, each step pays for the same pages again, 5 % of its time."""
    if (libc := _libc()) is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _libc() -> ctypes.CDLL | None:
    """GNU's; None where there is another."""
    with contextlib.suppress(OSError):
        return ctypes.CDLL("libc.so.6")
    return None


def choose_engine(
    device: str, *, num_threads: int, precision: str = "auto", steps_per_training: int = STEPS_PER_TRAINING
) -> tuple[Engine, list[dict[str, Any]]]:
    """The fastest engine for the seed network here, and what was measured: a dict per candidate, in ms a step.

    Takes under 3 s on a CPU, where one thread is measured. precision="fp32" measures nothing and gives the plain path.
    torch.compile is tried on CUDA alone (on CPUs it was slower) and taken if it pays for its own compilation within
    `steps_per_training`; not with 0. Leaves the chosen engine applied.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` must be one of {', '.join(PRECISIONS)}; got {precision!r}.")
    plain = Engine(device=device, num_threads=num_threads)
    if precision == "fp32":
        return plain, []
    fast = replace(plain, precision="bf16", channels_last=True)
    candidates = [plain, replace(plain, channels_last=True), fast]
    if precision == "bf16":
        candidates = [replace(fast, channels_last=False), fast]
    measured: list[tuple[float, Engine]] = []
    report: list[dict[str, Any]] = []
    for engine in candidates:
        limit = _HOPELESS * min((step_ms for step_ms, _ in measured), default=float("inf"))
        report.append(_measure(engine, limit_ms=limit))
        measured.append((report[-1]["step_ms"], engine))
    best_ms, best = min(measured, key=lambda pair: pair[0])
    if best.device_type == "cuda" and steps_per_training:
        compiled = replace(best, compile=True)
        row = _measure(compiled, limit_ms=float("inf"))
        report.append(row)
        if row["step_ms"] * steps_per_training + row["setup_ms"] < best_ms * steps_per_training:
            best = compiled
    best.apply()
    return best, report


def measure_step(engine: Engine) -> dict[str, Any]:
    """What `choose_engine` says of a candidate, for an engine that was chosen unmeasured."""
    row = _measure(engine, limit_ms=float("inf"))
    engine.apply()
    return row


def _row(engine: Engine, step_ms: float, setup_ms: float, slowdown: float) -> dict[str, Any]:
    return {
        "device": engine.device,
        "precision": engine.precision,
        "channels_last": engine.channels_last,
        "compile": engine.compile,
        "batch_size": _PROBE_BATCH[engine.device_type],
        "step_ms": round(step_ms, 3),
        "setup_ms": round(setup_ms, 1),
        "slowdown": round(slowdown, 2),
    }


def _measure(engine: Engine, *, limit_ms: float) -> dict[str, Any]:
    """Fastest and first step of the seed network, forward and backward, in ms; one step if that is over limit.

    On a CPU in the time that one thread computed, whatever else the machine does meanwhile: by the clock, a busy
    machine chooses by chance, and keeps a choice that costs it half its speed. `slowdown` is the clock's part in that.
    """
    is_cpu = engine.device_type == "cpu"
    clock = time.thread_time if is_cpu else time.perf_counter
    replace(engine, num_threads=1 if is_cpu else engine.num_threads).apply()
    with torch.random.fork_rng(devices=[]):
        network: nn.Module = build_network(SEED_CONFIG, 10)
    network.to(engine.device).to(memory_format=engine.memory_format)
    step_network = torch.compile(network) if engine.compile else network
    batch_size = _PROBE_BATCH[engine.device_type]
    images = torch.zeros(batch_size, 3, 32, 32, dtype=engine.dtype, device=engine.device)
    images = images.to(memory_format=engine.memory_format)
    labels = torch.zeros(batch_size, dtype=torch.int64, device=engine.device)

    def step() -> float:
        start = clock()
        with engine.autocast():
            logits = step_network(images)
        torch.autograd.backward(functional.cross_entropy(logits.float(), labels))
        network.zero_grad(set_to_none=True)
        synchronise(engine)
        return (clock() - start) * 1000

    first_ms = step()
    if first_ms > limit_ms:
        return _row(engine, first_ms, first_ms, 1.0)
    start = time.perf_counter()
    steps_ms: list[float] = []
    while len(steps_ms) < _PROBE_STEPS[engine.device_type] and sum(steps_ms) < _PROBE_SECONDS * 1000:
        steps_ms.append(step())
    slowdown = max(1.0, (time.perf_counter() - start) * 1000 / sum(steps_ms))
    return _row(engine, min(steps_ms), first_ms, slowdown)


def synchronise(engine: Engine) -> None:
    """Wait until the device has done all it was given, so that a clock read after it is honest."""
    if engine.device_type == "cuda":
        torch.cuda.synchronize(engine.device)
    elif engine.device_type == "mps":
        torch.mps.synchronize()
