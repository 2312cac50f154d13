"""run.toml of a run that never was."""

from __future__ import annotations

from typing import Any

from model.engine import Engine
from search.machine.slots import Slots
from search.settings import SearchSettings
from search.setup.document import DataRecord, HardwareRecord, RunDocument


def make_document(name: str = "r", *, class_names: tuple[str, ...] = ("cat", "dog"), **settings: Any) -> RunDocument:
    """The run.toml of a small run; `settings` are changes to its settings."""
    given = {"dataset": "digits", "scheduler": "asha", "max_epochs": 9, "grace_period": 1, "reduction_factor": 3}
    return RunDocument(
        created="2026-11-23T08:08:38+00:00",
        command="python tune_main.py --name '<b>x</b>'",
        warnings=("the images <i>fell back</i> to digits",),
        settings=SearchSettings(**{"run_name": name, **given, **settings}),
        data=DataRecord(
            name="digits",
            fingerprint="f" * 64,
            split_hash="5" * 64,
            image_size=32,
            num_train=1293,
            num_val=145,
            val_counts=_equal_counts(145, len(class_names)),
            class_names=class_names,
            mean=(0.3, 0.3, 0.3),
            std=(0.3, 0.3, 0.3),
        ),
        engine=Engine(precision="bf16", channels_last=True),
        slots=Slots(num_concurrent=2, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0),
        measurements={},
        versions={"python": "3.11", "convladder": "0.1.0"},
        hardware=HardwareRecord(processor="a CPU", cpu_cores=2, memory_gib=23.5, gpus=(), system="Linux"),
    )


def _equal_counts(num_images: int, num_classes: int) -> tuple[int, ...]:
    """So many images spread over the classes."""
    return tuple(num_images // num_classes + (index < num_images % num_classes) for index in range(num_classes))
