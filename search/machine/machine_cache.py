"""What earlier runs measured of this machine, so that the next one starts at once: a file for each kind of job.

A file holds the hardware, the versions, the image size and all else that the measurements depend on; anything that
differs, is damaged or was disturbed by other programs is measured again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from model.engine import Engine
from search.files import write_atomically
from search.machine.hardware import describe_hardware, describe_versions
from search.machine.slots import Slots

MAX_SLOWDOWN = 1.15
"""Wall time over computing time; more means that other programs slowed the measurement down."""
_REUSED = "reused"
Measurements = dict[str, list[dict[str, Any]]]
"""What engine and slots were chosen by; see `RunDocument`."""


class MeasuredMachine(BaseModel):
    """Engine and slots as they were measured."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    key: dict[str, Any]
    """What they depend on."""
    measured: str
    """ISO 8601, UTC."""
    engine: Engine
    slots: Slots
    measurements: Measurements
    """See `RunDocument`."""

    def reused(self) -> Measurements:
        """The measurements, marked as those of an earlier run."""
        return {**self.measurements, _REUSED: [{"measured": self.measured, "file": str(cache_file(self.key))}]}


def cache_key(**job: Any) -> dict[str, Any]:
    """What measurements depend on: this machine, these versions, and what is asked of them."""
    key = {"hardware": describe_hardware(), "versions": describe_versions(), **job}
    plain: dict[str, Any] = json.loads(json.dumps(key))
    return plain


def cache_file(key: Mapping[str, Any]) -> Path:
    """The file for a key, below XDG_CACHE_HOME or ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(root) if os.path.isabs(root) else Path.home() / ".cache"
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return folder / "convladder" / "machine" / f"{digest}.json"


def read_measured(key: Mapping[str, Any]) -> MeasuredMachine | None:
    """The measurements for a key; None if there are none or their file is damaged."""
    try:
        measured = MeasuredMachine.model_validate_json(cache_file(key).read_bytes())
    except (OSError, RuntimeError, ValidationError):
        return None
    return measured if measured.key == key else None


def keep_measured(key: dict[str, Any], engine: Engine, slots: Slots, measurements: Measurements) -> None:
    """Keeps measurements for later runs, unless other programs disturbed them; does nothing where that fails."""
    if not is_undisturbed([row for rows in measurements.values() for row in rows]):
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    measured = MeasuredMachine(key=key, measured=now, engine=engine, slots=slots, measurements=measurements)
    with contextlib.suppress(OSError, RuntimeError):  # a user without a home is a RuntimeError
        path = cache_file(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, measured.model_dump_json(indent=1))


def is_undisturbed(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there are measurements, and none of them failed or was slowed down by other programs."""
    is_whole = all(row.get("images_per_s", 1.0) > 0 for row in rows)
    return bool(rows) and is_whole and all(row["slowdown"] <= MAX_SLOWDOWN for row in rows)


def reuse_line(measurements: Mapping[str, Sequence[Mapping[str, Any]]]) -> str | None:
    """What the screen says if measurements of an earlier run are used."""
    if _REUSED not in measurements:
        return None
    [row] = measurements[_REUSED]
    return f"this machine's speeds are those measured on {row['measured'][:10]}; to measure again: rm {row['file']}"
