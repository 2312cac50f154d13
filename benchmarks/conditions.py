"""The machine and versions of a measurement, and the file that a benchmark writes."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("torch", "torchvision", "numpy", "ray", "optuna")
_CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def conditions() -> dict[str, Any]:
    """The machine, its load, the versions and the commit, as plain values."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_info("model name") or platform.processor(),
        "cpu_features": [name for name in _CPU_FEATURES if name in _cpu_info("flags").split()],
        "num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_average_1_min": os.getloadavg()[0],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "commit": _git("rev-parse", "HEAD"),
        "has_uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Writes `result` with its conditions as JSON, by rename, and prints the machine's load."""
    print("load average over 1, 5 and 15 min:", *(f"{load:.2f}" for load in os.getloadavg()), file=sys.stderr)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps({"conditions": conditions(), **result}, indent=1) + "\n")
    unfinished.replace(path)


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark takes."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    made.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="CPU threads (all)")
    made.add_argument("--repeats", type=int, default=5, help="pairs of measurements (5)")
    return made


def _cpu_info(key: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _git(*arguments: str) -> str | None:
    done = subprocess.run(
        ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.strip() if done.returncode == 0 else None
