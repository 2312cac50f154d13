"""How much training a search takes to find a good config, against its rivals, on recorded learning curves.

python -m benchmarks.search_quality --tables FOLDER --out quality.json --picture quality.html

FOLDER holds a `curve_tables.py` with `TABLES`, `Table` and, if it has tasks, `LCBench`; or it is a table of
`benchmarks.record_curves`. Each search runs on simulated workers with epochs as time, until `--budget` full trainings
are spent, or `--patience` if it has not found by then.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks.conditions import write_result
from benchmarks.search_quality.kept import Job, KeptOutcomes
from benchmarks.search_quality.measure import Outcome, outcome
from benchmarks.search_quality.ours import our_search
from benchmarks.search_quality.problems import Problem, load_problems, misled
from benchmarks.search_quality.rivals import RIVALS, Search
from benchmarks.search_quality.rivals_syne_tune import SYNE_TUNE
from benchmarks.search_quality.summary import Outcomes, summarise, text_table, write_picture

SEARCHES: dict[str, Search] = {
    "ours, promotion": partial(our_search, scheduler="promotion"),
    "ours, promotion 3": partial(our_search, scheduler="promotion", reduction_factor=3),
    "ours, plain ASHA": partial(our_search, scheduler="asha"),
    **RIVALS,
    **SYNE_TUNE,
}
SHUFFLED = re.compile(r"shuffled(\d\d):")


def main() -> None:
    arguments = build_parser().parse_args()
    if arguments.patience < arguments.budget:
        raise SystemExit(f"--patience {arguments.patience:g}: less than --budget {arguments.budget:g}. Raise it.")
    names = arguments.searches or list(SEARCHES)
    if len(names) < 2:
        raise SystemExit("--searches: one search has nothing to be compared with. Name another.")
    problems = arguments.problems or [problem.name for problem in load_problems(arguments.tables)]
    kept = KeptOutcomes(arguments.keep)
    outcomes: dict[str, dict[str, list[Outcome]]] = {}
    with ProcessPoolExecutor(arguments.jobs) as executor:
        for problem in problems:
            outcomes[problem] = replay_missing(arguments, problem, names, kept, executor)
            print(f"{problem}: {len(names) * arguments.seeds} searches replayed", file=sys.stderr, flush=True)
            _keep(arguments, outcomes, summarise(outcomes, ours=names[0], patience=arguments.patience))
    print(text_table(summarise(outcomes, ours=names[0], patience=arguments.patience)))


def replay_missing(
    arguments: argparse.Namespace, problem: str, names: list[str], kept: KeptOutcomes, executor: Executor
) -> dict[str, list[Outcome]]:
    """One outcome a seed of each search, those kept from before as they are."""
    jobs = [
        Job(problem, name, seed, arguments.workers, arguments.budget, arguments.patience)
        for seed in range(arguments.seeds)
        for name in names
    ]
    missing = [job for job in jobs if kept.get(job) is None]
    for job, done in zip(missing, executor.map(partial(_run, arguments.tables), missing), strict=True):
        kept.add(job, done)
    found = {job: kept.get(job) for job in jobs}
    return {name: [one for job, one in found.items() if job.search == name and one is not None] for name in names}


def _keep(arguments: argparse.Namespace, outcomes: Outcomes, summary: dict[str, Any]) -> None:
    """Writes what was asked for, with the problems replayed so far."""
    if arguments.out is not None:
        runs = {
            problem: {name: [asdict(run) for run in runs] for name, runs in searches.items()}
            for problem, searches in outcomes.items()
        }
        asked = {key: getattr(arguments, key) for key in ("seeds", "workers", "budget", "patience")}
        write_result(arguments.out, {"benchmark": "search_quality", **asked, "summary": summary, "outcomes": runs})
    if arguments.picture is not None:
        write_picture(arguments.picture, summary)


def build_parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--tables", type=Path, required=True, help="folder with curve_tables.py, or a table of record_curves"
    )
    made.add_argument("--seeds", type=int, default=30, help="searches of each kind on each problem (30)")
    made.add_argument("--workers", type=int, default=4, help="simulated workers (4)")
    made.add_argument("--budget", type=float, default=50.0, help="length of a search in full trainings (50)")
    made.add_argument("--patience", type=float, default=100.0, help="its length as long as it has not found (100)")
    made.add_argument(
        "--problems",
        nargs="+",
        metavar="NAME",
        help="only these; shuffled50:NAME is a table whose scores until half of a training are those of other configs",
    )
    made.add_argument(
        "--searches", nargs="+", metavar="NAME", choices=list(SEARCHES), help="only these; the first counts as ours"
    )
    made.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes (all cores)")
    made.add_argument("--keep", type=Path, help="lines of JSON with what was replayed: read if there, and added to")
    made.add_argument("--out", type=Path, help="JSON file for the result")
    made.add_argument("--picture", type=Path, help="HTML file for the picture")
    return made


def _run(tables: Path, job: Job) -> Outcome:
    problem = _problem(tables, job.problem)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return outcome(
        SEARCHES[job.search](problem, job.seed, job.workers),
        num_epochs=problem.num_epochs,
        top_score=problem.top_score,
        best_score=float(problem.final_scores.max()),
        median_score=float(np.median(problem.final_scores)),
        budget=job.budget,
        patience=job.patience,
    )


@lru_cache
def _problem(tables: Path, name: str) -> Problem:
    shuffled = SHUFFLED.match(name)
    problem = load_problems(tables, [SHUFFLED.sub("", name)])[0]
    return misled(problem, share=int(shuffled[1]) / 100, seed=0) if shuffled else problem


if __name__ == "__main__":
    main()
