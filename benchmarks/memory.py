"""Private memory that the images add to each worker: `python -m benchmarks.memory --dataset FOLDER --out F`.

Two runs of the main job with the same network, batch and number of training images: one on scikit-learn's digits (1.4
thousand images), one on the folder. A worker's private memory (pages that no other process shares, from
/proc/PID/smaps_rollup) holds torch, the network and its activations in both; the difference of the peaks is what the
larger data set adds. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.conditions import write_result

_ROOT = Path(__file__).parent.parent
_SPACE = Path(__file__).with_name("tiny_space.toml")
_SAMPLE_S = 0.1


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    made.add_argument("--dataset", type=Path, required=True, help="folder of 32x32 images")
    arguments = made.parse_args()
    small = peak_private_mib("digits")
    large = peak_private_mib(str(arguments.dataset.resolve()))
    added = max(large) - max(small)
    print(f"private memory of the largest worker: {max(small):.0f} MiB on digits, {max(large):.0f} MiB on the folder")
    print(f"the folder's images add {added:.0f} MiB a worker ({len(large)} workers)")
    write_result(arguments.out, {"benchmark": "memory", "digits_mib": small, "folder_mib": large, "added_mib": added})


def peak_private_mib(dataset: str) -> list[float]:
    """Peak private memory of every worker that trained, in MiB."""
    peaks: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(_ROOT / "tune_main.py"), "--dataset", dataset, "--image-size", "32"]
        command += ["--space", str(_SPACE), "--trials", "6", "--epochs", "2", "--grace-period", "1", "--no-baseline"]
        command += ["--search-examples", "1000", "--gpus", "0", "--cpus-per-trial", "1", "--name", "r"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            for worker in _workers():
                with contextlib.suppress(OSError):
                    peaks[worker] = max(peaks.get(worker, 0.0), _private_mib(worker))
            time.sleep(_SAMPLE_S)
        if process.returncode:
            raise SystemExit(f"the main job failed on {dataset} with exit code {process.returncode}")
    return sorted(peaks.values())


def _workers() -> list[int]:
    """Processes that Ray says are training."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::ImplicitFunc"):
                found.append(int(path.parent.name))
    return found


def _private_mib(process_id: int) -> float:
    lines = Path(f"/proc/{process_id}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


if __name__ == "__main__":
    main()
