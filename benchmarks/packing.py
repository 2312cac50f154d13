"""Trials side by side against one alone: `python -m benchmarks.packing --out F`.

Trains the seed network in processes of their own, as `tune_main.py` does when it measures how many trials fill the
machine: one on all cores, then more of them on fewer cores each. The figure is the summed images/s of the best packing
over those of one trial on all cores. With --neighbours N, N processes that do nothing but compute run beside them.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.conditions import parser, write_result
from model.config import SEED_CONFIG
from model.engine_choice import choose_engine
from search.machine.packing import MEASURE_S, cpu_candidates, gpu_candidates, throughput_processes


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    options.add_argument("--neighbours", type=int, default=0, help="other busy processes (0)")
    arguments = options.parse_args()
    engine, _ = choose_engine(arguments.device, num_threads=arguments.threads)
    candidates = cpu_candidates(arguments.threads)
    if arguments.device != "cpu":
        candidates = gpu_candidates(arguments.threads, gpus=1)
    speeds: dict[tuple[int, int], list[float]] = {candidate: [] for candidate in candidates}
    with throughput_processes(SEED_CONFIG, engine, image_size=32) as measure, _busy(arguments.neighbours):
        for _ in range(arguments.repeats):
            for candidate in candidates:
                speeds[candidate].append(measure(*candidate, MEASURE_S).images_per_s)
    singles = speeds[candidates[0]]
    rows = []
    for (num_trials, cpus_per_trial), measured in speeds.items():
        ratios = sorted(speed / single for speed, single in zip(measured, singles, strict=True))
        rows.append(
            {
                "num_trials": num_trials,
                "cpus_per_trial": cpus_per_trial,
                "images_per_s": statistics.median(measured),
                "ratio": statistics.median(ratios),
                "ratio_range": [ratios[0], ratios[-1]],
            }
        )
        print(
            f"{num_trials} trials of {cpus_per_trial} cores: {rows[-1]['images_per_s']:.0f} images/s, "
            f"{rows[-1]['ratio']:.2f} times one alone ({ratios[0]:.2f} to {ratios[-1]:.2f}, n={len(ratios)})"
        )
    write_result(arguments.out, {"benchmark": "packing", "neighbours": arguments.neighbours, "packings": rows})


@contextlib.contextmanager
def _busy(num_processes: int) -> Iterator[None]:
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(num_processes)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
