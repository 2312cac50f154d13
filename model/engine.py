"""How a process trains: device, precision, memory layout, compilation and threads."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

Precision = Literal["bf16", "fp32"]
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How a process trains. The plain path, and the reference, is fp32 with every switch off."""

    device: str = "cpu"
    """A torch device name: cpu, cuda, cuda:1, mps."""
    precision: Precision = "fp32"
    """bf16: torch's autocast; weights, norms and the loss stay fp32. fp32: IEEE arithmetic, TF32 off."""
    channels_last: bool = False
    compile: bool = False
    """Whether torch.compile compiles the network's forward and backward pass."""
    num_threads: int = 1
    """CPU threads of one training. Results repeat bit for bit only with the same number."""

    @property
    def device_type(self) -> str:
        """The device without its index: cpu, cuda or mps."""
        return self.device.partition(":")[0]

    @property
    def title(self) -> str:
        """Its switches in words."""
        switches = {"channels_last": self.channels_last, "compiled": self.compile}
        return ", ".join([self.precision, *(name for name, is_on in switches.items() if is_on)])

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the network's input."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format of the network's input and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self) -> AbstractContextManager[None]:
        """A context in which the forward pass uses this engine's precision."""
        enabled = self.precision == "bf16"
        return torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=enabled)

    def apply(self) -> None:
        """Set all of this process's global switches, so that none carries over from an earlier training."""
        _keep_freed_memory()
        # Far below zero the gradients of GELU and CELU are denormal numbers, which make a step on a CPU up to eight
        # times slower. This applies to the current thread and to the OpenMP threads that it starts.
        torch.set_flush_denormal(True)
        torch.set_num_threads(self.num_threads)
        torch.set_float32_matmul_precision("highest")
        if self.device_type == "cuda":
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.benchmark = True


def give_back_memory(engine: Engine) -> None:
    """Return freed blocks to the GPU, and to the system if it uses glibc, between two trainings.

    A training keeps its freed blocks (see `_keep_freed_memory`). Kept across trainings they pile up, because the
    blocks of one network do not fit the holes left by another: one worker held 13 GB after 30 trials, where a single
    trial needed 4. On a GPU, blocks that one process keeps are missing to the trials beside it.
    """
    if engine.device_type == "cuda":
        torch.cuda.empty_cache()
    elif engine.device_type == "mps":
        torch.mps.empty_cache()
    if (libc := _libc()) is not None:
        libc.malloc_trim(0)


@functools.cache
def _keep_freed_memory() -> None:
    """Tell glibc to keep large freed blocks: mapping the same pages again in every step costs 5 % of its time."""
    if (libc := _libc()) is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _libc() -> ctypes.CDLL | None:
    """The GNU C library; None on systems without it."""
    with contextlib.suppress(OSError):
        return ctypes.CDLL("libc.so.6")
    return None


def synchronise(engine: Engine) -> None:
    """Wait until the device has finished all queued work, so that timings are correct."""
    if engine.device_type == "cuda":
        torch.cuda.synchronize(engine.device)
    elif engine.device_type == "mps":
        torch.mps.synchronize()
