"""A small search without Ray's cluster: real searcher, real scheduler, real study; only the training is a formula."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import TrialScheduler

from model.seeds import derive_seed
from search.run_options import Scheduler
from search.samplers.build import make_sampler
from search.samplers.proposer import Proposer
from search.schedulers.promotion import PromotionRule
from search.schedulers.rungs import RungSettings, rungs_of
from search.schedulers.steering import Steering
from search.space.parameter import Parameter
from search.space.space import SearchSpace
from search.study.record import NewTrial
from search.study.study import RunStudy
from search.tune.searcher import StudySearcher
from search.tune.trial_scheduler import StudyScheduler

SEED = 11
SPACE = SearchSpace(
    {
        "x": Parameter(kind="linear", low=0.0, high=1.0, default=0.5),
        "y": Parameter(kind="log", low=0.01, high=1.0, default=0.1),
        "kind": Parameter(kind="choice", values=("a", "b", "c"), default="a"),
    },
    {"fixed": 3},
    lambda config: {"size": config["x"] + config["y"] - 0.9},
)
GIVEN = [
    NewTrial(config={"x": 0.9, "y": 2.0, "kind": "a"}, seed=1, origin="seed", violations={"size": 2.0}),
    NewTrial(
        config=SPACE.default_config() or {},
        seed=2,
        origin="default",
        params={"x": 0.5, "y": 0.1, "kind": "a"},
        distributions=SPACE.distributions,
        violations=SPACE.violations(SPACE.default_config() or {}),
    ),
]


@dataclass(frozen=True)
class Rungs:
    """The part of the settings that a scheduler reads."""

    max_epochs: int = 9
    grace_period: int = 1
    reduction_factor: int = 3
    scheduler: Scheduler = "asha"


def build_searcher(
    space: SearchSpace,
    study: RunStudy,
    seed: int,
    *,
    promotions: PromotionRule | None = None,
    num_trials: int = 10**9,
    max_concurrent: int | None = None,
    steering: Steering | None = None,
    may_start: Callable[[], bool] = lambda: True,
    **proposing: Any,
) -> StudySearcher:
    """The searcher of a run, put together as a run does it; `proposing` goes to its Proposer.

    `steering`: instead of `num_trials` and `max_concurrent`.
    """
    score_epochs = promotions.score_epochs if promotions else None
    sampler = partial(make_sampler, seed=seed, score_epochs=score_epochs)
    proposer = Proposer(space, study, seed, sampler, **proposing)
    return StudySearcher(
        proposer,
        study,
        steering or Steering(num_trials=num_trials, num_slots=max_concurrent),
        promotions=promotions,
        may_start=may_start,
    )


def score(config: Mapping[str, Any], epoch: int) -> float:
    """A learning curve that rises, with a ripple that is the same for the same config."""
    height = 1 - (config["x"] - 0.3) ** 2 - 0.1 * (config["kind"] == "b")
    ripple = derive_seed(0, repr(sorted(config.items())), epoch) / 2**63
    return float(height * epoch / (epoch + 1) + 0.05 * ripple)


def stub(trial_id: str, config: Mapping[str, Any]) -> SimpleNamespace:
    """As much of a Ray trial as schedulers look at."""
    return SimpleNamespace(trial_id=trial_id, config=config)


def reports(assignment: Mapping[str, Any], rungs: RungSettings) -> Iterator[dict[str, Any]]:
    """What a trainable reports, and some configs diverge or fail."""
    config = assignment["config"]
    luck = derive_seed(10, repr(sorted(config.items()))) % 6
    for epoch in training_epochs(assignment, rungs):
        if luck == 0 and epoch == 2:
            yield {"ended": "diverged", "error": "the loss was not finite"}
            return
        if luck == 1:
            yield {"ended": "failed", "error": "RuntimeError: no luck"}
            return
        yield {"epoch": epoch, "val_score": score(config, epoch), "seconds": 1.0, "images_per_s": 10.0}


def training_epochs(assignment: Mapping[str, Any], rungs: RungSettings) -> range:
    """The epochs that a worker trains: with promotion a training of its own, else what follows the last checkpoint."""
    if "training_epochs" in assignment:
        return range(1, assignment["training_epochs"] + 1)
    checkpoint = max((epoch for epoch in rungs_of(rungs) if epoch <= assignment["epochs_recorded"]), default=0)
    return range(checkpoint + 1, rungs.max_epochs + 1)


def search(
    study: RunStudy,
    num_trials: int,
    *,
    num_workers: int = 1,
    rungs: RungSettings | None = None,
    order: int = 0,
    given: Sequence[NewTrial] = GIVEN,
    steer: Callable[[Steering, int], None] = lambda _steering, _num_reports: None,
) -> None:
    """Runs a study up to `num_trials`; with several workers, reports arrive in a random `order`.

    `steer` is called before every report, and while nothing trains because the search is paused.
    """
    rungs, steering = rungs or Rungs(), Steering(num_trials=num_trials, num_slots=num_workers)
    scheduler = StudyScheduler(rungs, study, starts_anew=True, steering=steering)
    searcher = build_searcher(SPACE, study, SEED, given=given, steering=steering, promotions=scheduler.promotions)
    rng = random.Random(order)
    ids = (f"trial-{index}" for index in count())
    running: dict[str, tuple[SimpleNamespace, Iterator[dict[str, Any]]]] = {}
    left: dict[tuple[int, int], Iterator[dict[str, Any]]] = {}
    for num_reports in count():
        steer(steering, num_reports)
        while _start(next(ids), searcher, running, rungs, left):
            pass
        if not running and steering.is_paused:
            continue
        if not running:
            return
        trial_id = rng.choice(sorted(running))
        trial, coming = running[trial_id]
        if scheduler.on_trial_result(None, trial, next(coming)) == TrialScheduler.STOP:  # type: ignore[arg-type]
            del running[trial_id]
            if scheduler.is_waiting(trial.config["trial_number"]):
                left[_training_of(trial.config)] = coming
            searcher.on_trial_complete(trial_id)


def _training_of(assignment: Mapping[str, Any]) -> tuple[int, int]:
    return assignment["trial_number"], assignment.get("training_epochs", 0)


def _start(
    trial_id: str, searcher: StudySearcher, running: dict[str, Any], rungs: RungSettings, left: dict[Any, Any]
) -> bool:
    """Starts what the searcher proposes, from its checkpoint if it has `left`; False if it proposes nothing now."""
    assignment = searcher.suggest(trial_id)
    if not isinstance(assignment, dict):
        return False
    coming = left.pop(_training_of(assignment), None) or reports(assignment, rungs)
    running[trial_id] = stub(trial_id, assignment), coming
    return True


def study_of(*curves: list[float]) -> RunStudy:
    """A study with a trial for each curve of accuracies, all unfinished."""
    study = RunStudy.in_memory()
    for number, curve in enumerate(curves):
        study.add_trial(NewTrial(config={"x": 0.5}, seed=number))
        for epoch, score in enumerate(curve, start=1):
            study.record_epoch(number, epoch=epoch, score=score, metrics={})
    return study


def sends_to_end(study: RunStudy, promotions: PromotionRule, num_others: int) -> bool:
    """Whether the next promotion is a full training, once this many more trials have trained an epoch each."""
    for _ in range(num_others):
        promotions.reach(study.add_trial(NewTrial(config={}, seed=0)), 1, 0.0)
    promoted = promotions.promote()
    assert promoted is not None
    return study.trial(promoted).rungs[-1].is_sent_to_end
