"""Records learning curves of the default space: `python -m benchmarks.record_curves --dataset FOLDER --out TABLE.npz`.

Trains every config fully and in cheaper ways (fidelities) in two processes of one thread, and keeps the validation
accuracy of each epoch. Kill it at any time and start it again with the same options: every finished training is a line
of TABLE.jsonl, and the table is written from them. `python -m benchmarks.record_curves.report TABLE.npz` says what the
cheaper trainings foretell.
"""

from __future__ import annotations

import argparse
import dataclasses
import signal
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.conditions import conditions
from benchmarks.record_curves.fidelities import FIDELITIES
from benchmarks.record_curves.plan import Job, default_space, draw_configs, plan_jobs, plan_repeats, recorded_images
from benchmarks.record_curves.recording import Journal, train_missing, training_processes
from benchmarks.record_curves.table import make_table, save_table
from model.data import DataError, load_training_data
from model.engine_choice import choose_engine
from model.split_images import ImageArrays

_SEED = 0


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a recording ends by being killed; its processes follow it
    arguments = build_parser().parse_args()
    try:
        data = load_training_data(
            str(arguments.dataset), image_size=arguments.image_size, seed=_SEED, data_dir=Path("data")
        )
        if (count := len(data.examples.labels)) < arguments.train + arguments.val:
            raise SystemExit(f"--train {arguments.train} --val {arguments.val}: {count} images in all. Give fewer.")
        images = recorded_images(data, num_train=arguments.train, num_val=arguments.val, seed=_SEED)
    except DataError as error:
        raise SystemExit(str(error)) from None
    sizes = {key: getattr(arguments, key) for key in ("configs", "max_epochs", "image_size", "train", "val")}
    settings = {**sizes, "seed": _SEED, "images": data.fingerprint}
    journal = Journal(arguments.out.with_suffix(".jsonl"), settings, partial(_head, images, arguments.configs))
    _save(arguments, journal)
    with training_processes(images, journal.head) as processes:
        _record(arguments, journal, plan_jobs(arguments.configs, arguments.fidelities), processes)
        _record(arguments, journal, plan_repeats(journal.rows), processes)


def build_parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--dataset", required=True, help="folder of images, cifar10 or digits")
    made.add_argument("--out", type=Path, required=True, help="the table, an .npz file")
    made.add_argument("--configs", type=int, default=100, help="the default, the seed config and random ones (100)")
    made.add_argument("--max-epochs", type=int, default=25, help="length of a full training (25)")
    made.add_argument("--image-size", type=int, default=16, help="pixels (16)")
    made.add_argument("--train", type=int, default=8000, help="training images (8000)")
    made.add_argument("--val", type=int, default=4000, help="validation images (4000)")
    made.add_argument(
        "--fidelities", nargs="+", choices=list(FIDELITIES), default=list(FIDELITIES), help="only these (all)"
    )
    return made


def _head(images: ImageArrays, num_configs: int) -> dict[str, Any]:
    space = default_space(images)
    engine, _ = choose_engine("cpu", num_threads=1)
    return {
        "configs": draw_configs(space, num_configs, seed=_SEED),
        "space": space.to_toml(),
        "engine": dataclasses.asdict(engine),
        "conditions": conditions(),
    }


def _record(arguments: argparse.Namespace, journal: Journal, jobs: Sequence[Job], processes: Executor) -> None:
    for row in train_missing(journal, jobs, processes):
        _save(arguments, journal)
        end = row["error"] or f"{row['scores'][-1]:.4f}"
        job = f"config {row['config']}, {row['fidelity']}, seed {row['seed']}"
        print(f"{job}: {end} after {row['seconds']:.0f} s", flush=True)


def _save(arguments: argparse.Namespace, journal: Journal) -> None:
    names = [name for name in FIDELITIES if any(row["fidelity"] == name for row in journal.rows)]
    epochs = {name: FIDELITIES[name].num_epochs(arguments.max_epochs) for name in names}
    costs = {name: FIDELITIES[name].cost(arguments.max_epochs) for name in names}
    save_table(arguments.out, make_table({**journal.head, "costs": costs}, journal.rows, epochs))


if __name__ == "__main__":
    main()
