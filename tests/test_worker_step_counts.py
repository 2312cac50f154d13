"""Progress within an epoch, from one process to another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from search.worker.step_counts import StepCount, StepCounts


def test_steps_written_by_another_process_are_read(tmp_path: Path) -> None:
    counts = StepCounts(tmp_path / "steps")
    assert counts.read() == {}
    write = "from search.worker.step_counts import StepCounts; from pathlib import Path; import os, sys;" + (
        "StepCounts(Path(sys.argv[1])).writer(7)(2, 30, 120); os._exit(9)"  # as if killed
    )
    assert subprocess.run([sys.executable, "-c", write, str(tmp_path / "steps")], check=False).returncode == 9
    assert counts.read() == {7: StepCount(2, 30, 120)}
    assert counts.read()[7].fraction == 0.25
    counts.writer(7)  # started again
    assert counts.read() == {7: StepCount(0, 0, 0)}
    assert counts.read()[7].fraction == 0.0
    counts.writer("retrain:winner:0")(1, 2, 4)
    assert counts.read() == {7: StepCount(0, 0, 0), "retrain:winner:0": StepCount(1, 2, 4)}
    counts.clear()
    assert counts.read() == {}


def test_steps_that_cannot_be_stored_cost_nothing(tmp_path: Path) -> None:
    (tmp_path / "steps").write_text("a file where the folder should be")
    StepCounts(tmp_path / "steps").writer(1)(1, 2, 3)
