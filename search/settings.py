"""Everything that a run was asked for, validated where it is made."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from search.errors import UserError

Precision = Literal["auto", "bf16", "fp32"]
Scheduler = Literal["asha", "promotion"]
REDUCTION_FACTORS: dict[Scheduler, int] = {"promotion": 6, "asha": 3}
"""What serves each scheduler best, by benchmarks/search_quality."""
RECORD_VERSION = 2
"""The version of what a run writes. Raise it when the meaning changes; runs of another version are refused."""
RUN_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """The settings of one run. UserError names the field, the rule and the value."""

    dataset: str = "auto"
    """cifar10, digits, auto (CIFAR-10 if it can be had, else digits) or a folder of images or image parquet."""
    data_dir: Path = Path("data")
    """Where a downloaded data set is kept."""
    image_size: int | None = None
    """Side in pixels that images are resized to; None keeps their own."""
    search_examples: int | None = None
    """Training images that each trial uses, a stratified part; None uses all, or 512 of the digits that stand in for
    CIFAR-10 on a CPU. The retrain always uses all."""
    space: Path | None = None
    """Search space file; None is the default space."""
    max_params: int = 1_000_000
    """A network must have fewer parameters."""
    min_receptive_field: int = 44
    """A network's receptive field must be larger, in pixels."""

    scheduler: Scheduler = "promotion"
    """How weak trials are held back: promotion lets them wait at a rung until they are due; asha stops them there for
    good. Configs are drawn by trees that foresee the last epoch with promotion, by Optuna's TPE with asha."""
    num_trials: int = 20
    """Trials that train; rejected configs do not count."""
    max_epochs: int = 25
    """Length of a full training, in a trial and in the retrain."""
    grace_period: int = 3
    """Epochs that every trial gets before it may be stopped."""
    reduction_factor: int | None = None
    """One in so many trials goes on past each rung. With asha, also how many times as many epochs the next rung has.
    None is `REDUCTION_FACTORS`."""
    stop_when_done: bool = False
    """Start no more trials once the last half of all epochs won less than the noise of the validation accuracy."""
    time_budget_s: float | None = None
    """Seconds for the whole run, the retrain's share included; None is no limit."""
    seed: int = 0
    baseline: bool = True
    """Train the seed config (on 32x32 images) and the space's default as the winner is, to compare with."""
    retrain_top: int | None = None
    """The best configs that are retrained on fresh seeds to choose the winner; None is 1 on the CPU, 3 on a GPU."""
    retrain_seeds: int | None = None
    """Seeds of every retraining; None is 1 on the CPU, 3 on a GPU."""
    audit: float = 0.0
    """Chance, 0..1, that a trial about to be stopped goes on to the end, to see what the stops cost."""

    gpus: int = 0
    """GPUs that trials are spread over; 0 trains on CPU cores."""
    trials_per_gpu: int | None = None
    """Trials side by side on each GPU; None measures it."""
    cpus_per_trial: int | None = None
    """CPU cores of each trial; None measures it."""
    precision: Precision = "auto"
    """Arithmetic of the networks; auto takes what is faster here."""
    max_failures: int = 2
    """How often a trial whose worker process died is started again."""
    trial_timeout_s: float = 3600.0
    """Seconds without a finished epoch after which a trial is killed and has failed."""
    strict: bool = False
    """Treat a missing GPU as an error instead of a warning."""

    tensorboard: bool = False
    """Write TensorBoard event files into the run's folder."""
    mlflow: str | None = None
    """URI of an MLflow tracking server or database that is told of the trials."""
    wandb: str | None = None
    """Project in Weights & Biases that is told of the trials."""

    run_name: str
    results_dir: Path = Path("results")
    storage: str | None = None
    """SQLAlchemy URL of the record; None is SQLite in the run's folder."""

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise UserError("\n".join(problems))

    def _problems(self) -> Iterator[str]:
        """One line for each value that is out of bounds."""
        if not RUN_NAME_PATTERN.fullmatch(self.run_name):
            yield f"`name` must be letters, digits, dots, dashes or underscores, at most 80; got {self.run_name!r}."
        if self.precision not in get_args(Precision):
            yield f"`precision` must be one of {', '.join(get_args(Precision))}; got {self.precision!r}."
        if self.scheduler not in get_args(Scheduler):
            yield f"`scheduler` must be one of {', '.join(get_args(Scheduler))}; got {self.scheduler!r}."
        for field, flag, low in _LOWER_BOUNDS:
            value = getattr(self, field)
            if value is not None and value < low:
                yield f"`{flag}` must be at least {low}; got {value}."
        if not 0 <= self.audit <= 1:
            yield f"`audit` must be in 0..1; got {self.audit}."
        if self.audit > 0 and self.scheduler != "asha":
            yield (
                f"`audit` needs scheduler asha, whose stops are final; got {self.scheduler}. Say --scheduler asha, or "
                "leave --audit out."
            )
        if self.grace_period > self.max_epochs:
            yield (
                f"`grace-period` must be in 1..epochs; got grace-period {self.grace_period} with epochs "
                f"{self.max_epochs}. Lower it or raise --epochs."
            )

    def resolved(self, device: str) -> SearchSettings:
        """With numbers in the place of what depends on the device that trains, or on the scheduler."""
        usual = 1 if device == "cpu" else 3
        top = usual if self.retrain_top is None else self.retrain_top
        seeds = usual if self.retrain_seeds is None else self.retrain_seeds
        factor = self.reduction_factor or REDUCTION_FACTORS[self.scheduler]
        return dataclasses.replace(self, retrain_top=top, retrain_seeds=seeds, reduction_factor=factor)

    @property
    def run_dir(self) -> Path:
        """The folder that holds everything the run leaves."""
        return self.results_dir / self.run_name

    @property
    def storage_url(self) -> str:
        """Where the record is."""
        return self.storage or f"sqlite:///{(self.run_dir / 'study.db').absolute()}"


_LOWER_BOUNDS = (
    ("image_size", "image-size", 8),
    ("search_examples", "search-examples", 1),
    ("max_params", "max-params", 1),
    ("min_receptive_field", "min-receptive-field", 0),
    ("num_trials", "trials", 1),
    ("max_epochs", "epochs", 1),
    ("grace_period", "grace-period", 1),
    ("reduction_factor", "reduction-factor", 2),
    ("time_budget_s", "time-budget", 1),
    ("seed", "seed", 0),
    ("retrain_top", "retrain-top", 1),
    ("retrain_seeds", "retrain-seeds", 1),
    ("gpus", "gpus", 0),
    ("trials_per_gpu", "trials-per-gpu", 1),
    ("cpus_per_trial", "cpus-per-trial", 1),
    ("max_failures", "max-failures", 0),
    ("trial_timeout_s", "trial-timeout", 1),
)
