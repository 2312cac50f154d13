"""Pairs of measurements, and how they tell that other processes disturbed them."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from benchmarks.machine_load import CpuReading, others_share, read_cpu
from benchmarks.pairs import Pairs, measure_pairs


def test_what_others_used_counts_new_processes_and_stolen_time() -> None:
    before = CpuReading(0.0, 1.0, {(1, 0.0): 100.0, (2, 0.0): 50.0})
    after = CpuReading(10.0, 1.5, {(1, 0.0): 103.0, (3, 7.0): 2.0})  # process 2 has ended
    assert others_share(before, after, num_cpus=2) == pytest.approx((3.0 + 2.0 + 0.5) / 20)
    assert others_share(before, before) == 0.0


def test_time_of_our_own_descendants_does_not_count() -> None:
    """A parent that ends leaves an orphan, which is nobody's descendant."""
    spin = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass\ntime.sleep(60)"]
    start_and_end = f"import subprocess; print(subprocess.Popen({spin!r}, stdout=subprocess.DEVNULL).pid)"
    child = psutil.Process(subprocess.Popen(spin).pid)
    orphan = psutil.Process(int(subprocess.check_output([sys.executable, "-c", start_and_end])))
    try:
        while min(sum(process.cpu_times()[:2]) for process in (child, orphan)) < 0.3:
            time.sleep(0.05)
        others_s = {number: seconds for (number, _), seconds in read_cpu().others_s.items()}
    finally:
        child.kill()
        orphan.kill()
    assert others_s[orphan.pid] >= 0.3
    assert child.pid not in others_s


def test_disturbed_pairs_are_marked() -> None:
    pairs = Pairs("speed", ours=(2.0, 3.0, 4.0), reference=(1.0, 1.0, 1.0), others=(0.0, 0.3, 0.1))
    assert pairs.summary()["disturbed"] == [False, True, False]
    assert "1 of 3 pairs" in str(pairs)
    assert "disturbed" not in str(Pairs("speed", ours=(2.0,), reference=(1.0,), others=(0.02,)))


def test_pairs_are_read_in_turn_after_a_warm_up() -> None:
    calls: list[str] = []

    def reading(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    pairs = measure_pairs("speed", lambda: reading("ours"), lambda: reading("reference"), num_pairs=2)
    assert calls == ["ours", "reference"] * 3
    assert (pairs.ours, pairs.reference) == ((3.0, 5.0), (4.0, 6.0))
    assert len(pairs.others) == 2
