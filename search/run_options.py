"""Every option of a run, declared once: the command line, run.toml, Python and docs/options.md all follow from it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Strict, field_validator

from model.objective import ClassWeights, MetricName
from search.options import Options, option, split_at_commas
from search.paths import cluster_address, whole_network, whole_path, whole_url

Precision = Literal["auto", "bf16", "fp32"]
Scheduler = Literal["promotion", "asha"]
AnyPath = Annotated[Path, Strict(False), AfterValidator(whole_path)]
"""A path, or its text; relative ones and `~` become absolute."""
AnyUrl = Annotated[str, AfterValidator(whole_url)]
DATA_SETS = ("auto", "cifar10", "digits")
"""What --dataset takes besides a folder."""
DataSet = Annotated[str, AfterValidator(lambda name: name if name in DATA_SETS else str(whole_path(name)))]
Requirement = Literal["depthwise_separable", "dilated", "max_pools"]
REQUIREMENTS: tuple[Requirement, ...] = get_args(Requirement)
RUN_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
SEARCH, RESULT, IMAGES, MACHINE, RUN = "the search", "the result", "the images", "the machine", "the run"
MAX_TRIALS = 100_000
"""More than one driver can look after."""
_RETRAIN_DEFAULT = "1 to 5, as many as cost about what the search costs"


class RunOptions(Options):
    """A value for each option."""

    num_trials: int = option(
        "trials", SEARCH, "trials to train; configs over the limits do not count", default=20, ge=1, le=MAX_TRIALS
    )
    max_epochs: int = option(
        "epochs",
        SEARCH,
        "epochs of a full training, in a trial and in the retrain",
        default=25,
        default_text="25; with fewer than 1,000 training images 25,000 / their number, at most 100",
        ge=1,
        is_fixed=True,
    )
    metric: MetricName = option(
        "metric", SEARCH, "ranks and reports networks; accuracy is shown beside it", default="accuracy", is_fixed=True
    )
    class_weights: ClassWeights = option(
        "class-weights", SEARCH, "balanced: all classes weigh the same in the loss", default="none", is_fixed=True
    )
    scheduler: Scheduler = option(
        "scheduler",
        SEARCH,
        "promotion pauses trials at each rung and promotes the best, with a tree-ensemble surrogate that proposes "
        "configs; asha stops the rest for good, with Optuna's TPE",
        default="promotion",
        is_fixed=True,
    )
    grace_period: int = option(
        "grace-period",
        SEARCH,
        "epochs that every trial trains before the first rung",
        default=3,
        default_text="3, or --epochs if that is less; in proportion where --epochs is more than 25 by default",
        ge=1,
        is_fixed=True,
    )
    reduction_factor: int | None = option(
        "reduction-factor",
        SEARCH,
        "one trial in N goes on past each rung",
        default_text="6; with asha 3",
        ge=2,
        examples=[6],
        is_fixed=True,
    )
    time_budget_s: float | None = option(
        "time-budget",
        SEARCH,
        "time for the whole run, retraining included, such as 45min or 2h",
        unit="s",
        default_text="no limit",
        ge=1,
    )
    space: AnyPath | None = option(
        "space",
        SEARCH,
        "the search space, a TOML file",
        metavar="FILE",
        default_text="the space that comes with the program",
    )
    network: Annotated[str, AfterValidator(whole_network)] | None = option(
        "network",
        SEARCH,
        "the function that builds networks: FILE.py:NAME, MODULE:NAME or torchvision.models:NAME; this runs its code",
        metavar="WHERE:NAME",
        default_text="the networks that come with the program",
    )
    max_params: int = option(
        "max-params", SEARCH, "a network must have fewer parameters", default=1_000_000, ge=1, is_fixed=True
    )
    min_receptive_field: int = option(
        "min-receptive-field",
        SEARCH,
        "a network must have a larger receptive field, in pixels",
        default=44,
        default_text="44; no limit with --network",
        ge=0,
        is_fixed=True,
    )
    require: Annotated[tuple[Requirement, ...], BeforeValidator(split_at_commas)] = option(
        "require",
        SEARCH,
        "layers that a built-in network must have, with commas between: "
        f"{', '.join(REQUIREMENTS)} (one, one and three of them), or none",
        metavar="LAYERS",
        default=REQUIREMENTS,
        default_text="all; none with --network",
        is_fixed=True,
    )
    seed: int = option("seed", SEARCH, "seed of everything random", default=0, ge=0, is_fixed=True)

    retrain_top: int | None = option(
        "retrain-top",
        RESULT,
        "the N best configs are retrained on fresh seeds to choose the winner",
        default_text=_RETRAIN_DEFAULT,
        ge=1,
        examples=[3],
    )
    retrain_seeds: int | None = option(
        "retrain-seeds", RESULT, "seeds of every retraining", default_text=_RETRAIN_DEFAULT, ge=1, examples=[3]
    )
    baseline: bool = option(
        "no-baseline",
        RESULT,
        "skip the two baselines; the report then cannot say whether the search beat them",
        default=True,
    )

    dataset: DataSet = option(
        "dataset",
        IMAGES,
        "cifar10, digits, auto (CIFAR-10 if it can be downloaded, else digits), or a folder of images or image parquet",
        metavar="WHAT",
        default="auto",
    )
    data_dir: AnyPath = option(
        "data-dir", IMAGES, "where downloaded data sets are kept", metavar="DIR", default=Path("data")
    )
    image_size: int | None = option(
        "image-size", IMAGES, "resize images to N x N pixels", default_text="their own size", ge=8, examples=[32]
    )
    skip_unreadable: bool = option(
        "skip-unreadable", IMAGES, "leave out images that cannot be read, with a count", default=False
    )
    search_examples: int | None = option(
        "search-examples",
        IMAGES,
        "training images of each trial, a stratified part; the retrain uses all",
        default_text="all; 512 of the digits that stand in for CIFAR-10 on a CPU",
        ge=1,
        examples=[10_000],
    )

    gpus: int = option("gpus", MACHINE, "GPUs to spread trials over; 0 trains on CPU cores", default=0, ge=0)
    trials_per_gpu: int | None = option(
        "trials-per-gpu", MACHINE, "trials side by side on each GPU", default_text="measured", ge=1, examples=[4]
    )
    cpus_per_trial: int | None = option(
        "cpus-per-trial", MACHINE, "CPU cores of each trial", default_text="measured", ge=1, examples=[2]
    )
    precision: Precision = option(
        "precision", MACHINE, "arithmetic of the networks; auto measures which is faster here", default="auto"
    )
    cluster: Annotated[str, AfterValidator(cluster_address)] | None = option(
        "cluster", MACHINE, "a Ray cluster to train on, or auto on its nodes", metavar="HOST:6379", default_text="local"
    )
    accelerator: str | None = option(
        "accelerator", MACHINE, "use only this kind of nodes, such as H100", metavar="NAME", default_text="all kinds"
    )
    workers: int | None = option(
        "workers",
        MACHINE,
        "trials at a time on a cluster, fitting or not",
        default_text="all that fit",
        ge=1,
        examples=[8],
    )
    node_timeout_s: float = option(
        "node-timeout", MACHINE, "how long a cluster may have no node for a trial", unit="s", default=600.0, ge=1
    )
    max_failures: int = option(
        "max-failures", MACHINE, "restarts of a trial whose worker process died", default=2, ge=0
    )
    trial_timeout_s: float = option(
        "trial-timeout", MACHINE, "a trial that finishes no epoch in this time fails", unit="s", default=3600.0, ge=1
    )
    strict: bool = option("strict", MACHINE, "fail if a GPU was asked for and none is visible", default=False)

    run_name: str = option(
        "name", RUN, "name of the run's folder", metavar="NAME", default=..., default_text="the starting time"
    )
    results_dir: AnyPath = option(
        "results-dir", RUN, "where run folders are created", metavar="DIR", default=Path("results")
    )
    storage: AnyUrl | None = option(
        "storage", RUN, "SQLAlchemy URL of the run's record", metavar="URL", default_text="SQLite in the run's folder"
    )
    tensorboard: bool = option("tensorboard", RUN, "write TensorBoard event files into the run's folder", default=False)
    mlflow: AnyUrl | None = option(
        "mlflow",
        RUN,
        "log trials to an MLflow server or database, such as http://HOST:5000",
        metavar="URI",
        default_text="no",
    )
    wandb: str | None = option(
        "wandb", RUN, "log trials to a project in Weights & Biases", metavar="PROJECT", default_text="no"
    )
    notify: str | None = option(
        "notify",
        RUN,
        "send word when the run ends, is cut off or finds a better config: a URL of Apprise, or of a webhook",
        metavar="URL",
        default_text="what CONVLADDER_NOTIFY says in the environment, else nobody",
        exclude=True,  # it may hold a password, and run.toml is shown to others
    )

    @field_validator("run_name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not RUN_NAME_PATTERN.fullmatch(name):
            raise ValueError(f"must be letters, digits, dots, dashes or underscores, at most 80; got {name!r}")
        return name
