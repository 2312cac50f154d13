"""The machine of a run: devices, hardware, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

from search.errors import UserError
from search.settings import SearchSettings

PACKAGES = ("convladder", "torch", "torchvision", "ray", "optuna", "pandas", "numpy")


def num_cpus() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_gpus() -> int:
    """GPUs that torch sees here; Apple's counts as one."""
    if torch.cuda.is_available():
        return torch.cuda.device_count()
    return int(torch.backends.mps.is_available())


def choose_device(settings: SearchSettings) -> tuple[str, list[str]]:
    """The device to train on (cuda, mps or cpu), and warnings. UserError if more GPUs are asked for than there are."""
    available = num_gpus()
    if settings.gpus == 0:
        return "cpu", []
    if available == 0:
        if settings.strict:
            raise UserError(f"--gpus {settings.gpus}: no GPU is visible here. Leave out --strict to train on the CPU.")
        return "cpu", [f"--gpus {settings.gpus} was asked for but NO GPU is visible: training on the CPU, far slower."]
    if settings.gpus > available:
        raise UserError(f"--gpus {settings.gpus}: only {available} visible here. Ask for {available} or fewer.")
    return ("cuda" if torch.cuda.is_available() else "mps"), []


def describe_hardware() -> dict[str, Any]:
    """Processor, cores, memory, GPUs and system."""
    return {
        "processor": _processor(),
        "cpu_cores": num_cpus(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())),
        "system": platform.platform(),
    }


def describe_versions() -> dict[str, str]:
    """Versions of Python and `PACKAGES`, and this project's commit if it runs from a clone."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {**versions, "commit": _commit()}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
