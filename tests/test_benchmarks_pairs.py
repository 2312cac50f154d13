"""Pairs of measurements, and how they tell that other processes disturbed them."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from benchmarks.machine_load import CpuReading, others_share, read_cpu
from benchmarks.pairs import Pairs, measure_pairs


def test_what_others_used_is_the_busy_time_that_is_not_our_own() -> None:
    before, after = CpuReading(0.0, 100.0, 5.0), CpuReading(10.0, 115.0, 13.0)
    assert others_share(before, after, num_cpus=2) == pytest.approx((15 - 8) / 20)
    assert others_share(before, CpuReading(10.0, 107.0, 13.0), num_cpus=2) == 0.0, "counters tick at different times"
    assert others_share(before, before) == 0.0


def test_own_time_includes_children() -> None:
    before, start = read_cpu().own_s, time.process_time()
    while time.process_time() - start < 0.3:
        pass
    spin = "import time\nwhile time.process_time() < 0.5: pass"
    subprocess.run([sys.executable, "-c", spin], check=True)
    assert read_cpu().own_s - before == pytest.approx(0.3 + 0.5, abs=0.25)


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
