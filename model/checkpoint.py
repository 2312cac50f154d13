"""Checkpoints of a training: bytes that travel between machines, and files written by rename.

A file's name holds a hash of its content, so that a torn one never loads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

_NUM_KEPT = 2
_HASH_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training after an epoch."""

    epoch: int
    """From 1."""
    content: NDArray[np.uint8]
    """The bytes of a safetensors file with `meta` as JSON in its header; an array, so that Ray shares its memory."""
    checksum: str
    """The start of the content's sha256, in hex."""

    @classmethod
    def of(cls, epoch: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Checkpoint:
        """The checkpoint of an epoch. `meta` must be fit for JSON."""
        content = save(tensors, metadata={"meta": json.dumps(meta)})
        return cls(epoch=epoch, content=np.frombuffer(content, np.uint8), checksum=_hash(content))

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and meta."""
        content = self.content.tobytes()
        return load(content), _read_meta(content)


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write `folder`/epoch-0007-<checksum>.safetensors; keep it and the newest one before it.

    Files of later epochs go: a training that could have gone on from them would not have come here again.
    Returns the file's path. Raises OSError if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"epoch-{checkpoint.epoch:04d}-{checkpoint.checksum}.safetensors"
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("wb") as file:
        file.write(checkpoint.content.data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    _sync_folder(folder)
    others = [kept for kept in _newest_first(folder) if kept != path]
    earlier = [kept for kept in others if _epoch_of(kept) <= checkpoint.epoch]
    for old in set(others) - set(earlier[: _NUM_KEPT - 1]):
        old.unlink(missing_ok=True)
    return path


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose content matches the hash in its name; None if there is none."""
    for path in _newest_first(folder):
        with contextlib.suppress(OSError):
            content, checksum = path.read_bytes(), path.stem.rpartition("-")[2]
            if checksum == _hash(content):
                return Checkpoint(epoch=_epoch_of(path), content=np.frombuffer(content, np.uint8), checksum=checksum)
    return None


def delete_checkpoints(folder: Path) -> None:
    """Delete the checkpoints and unfinished writes in `folder`, and the folder itself if that leaves it empty."""
    for pattern in ("epoch-*.safetensors", "epoch-*.tmp"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _newest_first(folder: Path) -> list[Path]:
    """Checkpoint files by epoch, and within an epoch by the time they were written."""
    paths = folder.glob("epoch-*.safetensors")
    return sorted(paths, key=lambda path: (_epoch_of(path), path.stat().st_mtime_ns), reverse=True)


def _epoch_of(path: Path) -> int:
    return int(path.name.split("-")[1])


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]


def _read_meta(content: bytes) -> dict[str, Any]:
    """Meta from a safetensors header: 8 bytes of length, little-endian, then JSON."""
    header_size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_size])
    meta: dict[str, Any] = json.loads(header["__metadata__"]["meta"])
    return meta


def _sync_folder(folder: Path) -> None:
    """Make the rename survive a power cut. File systems that cannot sync a folder skip this step."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
