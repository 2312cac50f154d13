"""What an error says about the device it came from."""

from __future__ import annotations

import re

import torch

from model.engine import Engine, synchronise

# Only PyTorch's allocators raise errors of their own type. cuBLAS's and cuDNN's are told by their text; cuDNN finds no
# algorithm if none of them gets the workspace it needs.
_MEMORY_TEXT = re.compile(
    r"out of memory|can't allocate memory|ALLOC(ATION)?_FAILED|unable to find (a valid cuDNN algorithm|an engine)",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the process or its GPU lacked memory."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or bool(_MEMORY_TEXT.search(str(error)))


def is_device_lost(engine: Engine) -> bool:
    """Whether the engine's device answers this process no longer. After some CUDA errors every later call fails, too,
    until the process ends.
    """
    try:
        synchronise(engine)
    except RuntimeError:
        return True
    return False


def telling_line(error: BaseException) -> str:
    """The line of an error's text that says what happened: CUDA's own come first, with advice below; else the last."""
    lines = str(error).strip().splitlines() or ["no message"]
    return lines[0] if isinstance(error, torch.AcceleratorError) else lines[-1]
