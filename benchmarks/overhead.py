"""What a trial costs beside its training, against Ray Tune's defaults (R2): `python -m benchmarks.overhead --out F`.

One trial at a time on one core, a tiny network on scikit-learn's digits, one epoch each. A trial's overhead is the time
from the last report of the trial before it to its own, less the seconds that its epoch took: start, data, reports,
checkpoints, and for ours the sampler and the record. The first trial of a run, which starts the worker, is left out.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from benchmarks.conditions import write_result
from benchmarks.pairs import Pairs
from search import load_run

_ROOT = Path(__file__).parent.parent
_SPACE = Path(__file__).with_name("tiny_space.toml")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--out", type=Path, required=True, help="JSON file for the result")
    made.add_argument("--trials", type=int, default=20, help="trials a run (20)")
    made.add_argument("--repeats", type=int, default=3, help="pairs of runs (3)")
    arguments = made.parse_args()
    ours, usual = [], []
    for _ in range(arguments.repeats):
        ours.append(statistics.median(our_overheads(arguments.trials)))
        usual.append(statistics.median(usual_overheads(arguments.trials)))
    pairs = Pairs("seconds a trial costs beside its training, R2's over ours", tuple(usual), tuple(ours))
    print(pairs)
    write_result(arguments.out, {"benchmark": "overhead", "trials": arguments.trials, "results": [pairs.summary()]})


def our_overheads(num_trials: int) -> list[float]:
    """Seconds, of every trial but the first."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(_ROOT / "tune_main.py"), "--dataset", "digits", "--space", str(_SPACE)]
        command += ["--trials", str(num_trials), "--epochs", "1", "--grace-period", "1", "--no-baseline"]
        command += ["--precision", "fp32", "--gpus", "0", "--cpus-per-trial", "1", "--name", "r"]
        subprocess.run(["taskset", "-c", "0", *command], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        epochs = load_run(Path(folder) / "results" / "r").epochs.sort_values("recorded_at")
    return _gaps(list(zip(epochs.recorded_at, epochs.seconds, strict=True)))


def usual_overheads(num_trials: int) -> list[float]:
    """The same of a Tuner as its documentation shows one; see `usual_tuner`."""
    command = ["taskset", "-c", "0", sys.executable, "-m", "benchmarks.usual_tuner", str(num_trials)]
    done = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    reports = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("REPORT ")]
    return _gaps(sorted((float(at), float(seconds)) for at, seconds in reports))


def _gaps(reports: list[tuple[float, float]]) -> list[float]:
    """(time of the report, seconds of training before it) in order -> what the time between two reports leaves over."""
    return [later - earlier - seconds for (earlier, _), (later, seconds) in pairwise(reports)]


if __name__ == "__main__":
    main()
