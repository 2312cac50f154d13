"""Checkpoints of a training, written by rename and named by a hash of their content so that a torn file never loads."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

_NUM_KEPT = 2
_HASH_DIGITS = 16


def save_checkpoint(folder: Path, epoch: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> Path:
    """Write `folder`/epoch-0007-<hash>.safetensors with `meta` as JSON in its header; keep the folder's newest two.

    Returns the file's path. Raises OSError if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = save(tensors, metadata={"meta": json.dumps(meta)})
    path = folder / f"epoch-{epoch:04d}-{_hash(content)}.safetensors"
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    _sync_folder(folder)
    for old in [kept for kept in _newest_first(folder) if kept != path][_NUM_KEPT - 1 :]:
        old.unlink(missing_ok=True)
    return path


def newest_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and meta of the newest checkpoint whose content matches the hash in its name; None if there is none."""
    for path in _newest_first(folder):
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            if path.stem.endswith(f"-{_hash(content)}"):
                return load(content), _read_meta(content)
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
    return sorted(paths, key=lambda path: (int(path.name.split("-")[1]), path.stat().st_mtime_ns), reverse=True)


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
