"""Three hundred tiny trials: what the search holds on to does not grow with the number of trials done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults import PATIENCE_S, REPOSITORY

pytestmark = pytest.mark.faults
NUM_TRIALS = 300
MIB = 2**20


def test_nothing_grows_with_the_number_of_trials(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "tests" / "soak_search.py"), str(tmp_path), str(NUM_TRIALS)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    measurements = json.loads(done.stdout.splitlines()[-1])
    print(*measurements, sep="\n")
    early, late = measurements[0], measurements[-1]
    assert late["num_ended"] == NUM_TRIALS
    growth = {name: late[name] - early[name] for name in late}
    assert len({row["worker"] for row in measurements}) == 1, "the worker was not reused"
    # Ray starts a thread or opens a file late; one for every trial would be 250.
    for name in ("driver_threads", "worker_threads", "driver_files", "worker_files", "scratch_files"):
        assert growth[name] <= 5, measurements
    assert growth["driver_bytes"] < 40 * MIB, measurements
    assert growth["worker_bytes"] < 10 * MIB, measurements
    assert growth["scratch_bytes"] < 2 * MIB, measurements
