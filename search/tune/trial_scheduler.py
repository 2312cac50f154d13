"""Ray's trial scheduler over the study: records every report, then asks the rule whether the trial goes on."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import ray
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from search.schedulers.asha import StoppingRule
from search.schedulers.promotion import PromotionRule
from search.schedulers.retrain_queue import RetrainQueue
from search.schedulers.rungs import RungSettings, finish_interrupted_ends, rungs_of
from search.schedulers.steering import Steering
from search.study.checkpoints import Checkpoints
from search.study.record import TrialId, TrialStatus
from search.study.study import RunStudy
from search.tune.ray_state import StateIsInStudy
from search.worker.trainable import trial_of

WORKER_DIED = "the worker process died again and again; the usual cause is too little memory"
EPOCH_METRICS = ("train_loss", "val_loss", "val_accuracy", "val_error", "lr", "seconds", "images_per_s", "worker")
"""The parts of a report that the record keeps besides the score."""
_NODE_LOST = re.compile("its node has died|actor is temporarily unavailable")
"""What Ray says of a worker whose node is gone, the second if it notices the broken connection before the death."""
_NUM_WRITERS = 4
_WRITE_PATIENCE_S = 0.05
"""A short write is waited for at once. During a longer one Ray's loop goes on, but may notice its end 0.1 s late."""


class StudyScheduler(StateIsInStudy, FIFOScheduler):
    """Records every report and every end.

    A report is a dict with `epoch` (1-based), `val_score` (larger is better) and further metrics; or with `ended`
    ("diverged" or "failed") and `error`; or with `steps`, which are not recorded. One with a `checkpoint` is held until
    that is on the disk. A trial that starts, also again, gets its newest one in its config. An epoch that is in the
    record already is ignored. To Ray, a trial that pauses at a rung has ended: the searcher proposes it again when it
    is due. Reports of retrainings go to `retrainings`.
    """

    def __init__(
        self,
        settings: RungSettings,
        study: RunStudy,
        retrainings: RetrainQueue | None = None,
        checkpoints: Checkpoints | None = None,
        *,
        chance_level: float = -math.inf,
        starts_anew: bool = False,
        steering: Steering | None = None,
    ) -> None:
        """`checkpoints`: None if no report has one. `chance_level`: a lower score may be a guess, and a rung of such
        scores decides nothing. `steering`: None lets nobody steer.

        `starts_anew`: see `PromotionRule`. Also finishes the writes that a kill cut off.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self._study = study
        self._retrainings = retrainings
        self._checkpoints = checkpoints
        self._writers = ThreadPoolExecutor(_NUM_WRITERS, "checkpoints")
        self._held: dict[str, tuple[Trial, Future[None], dict[str, Any]]] = {}
        self._max_epochs = settings.max_epochs
        self._rung_epochs = rungs_of(settings)
        self._steering = steering or Steering(num_trials=0)
        self._controller: Any = None
        self._left: set[TrialId] = set()
        finish_interrupted_ends(study, settings.max_epochs)
        self._starts_anew = starts_anew
        self.promotions: PromotionRule | None = None
        """The rule that lets paused trials go on; None where trials are stopped instead."""
        if settings.scheduler == "promotion":
            self.promotions = PromotionRule(settings, study, chance_level=chance_level, starts_anew=starts_anew)
        self._rule = self.promotions or StoppingRule(settings, study, chance_level=chance_level)
        self._epochs_recorded = {record.number: record.epochs_trained for record in study.trials()}
        self._num_restarts: Counter[TrialId] = Counter()
        self._repeated_s: defaultdict[int, float] = defaultdict(float)
        """Time of each trial's reports since its last recorded epoch that the record has already."""
        self._reasons_to_kill: dict[TrialId, str] = {}

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Gives a trial that starts, for the first time or again, its newest checkpoint. Keeps idle workers."""
        number = trial_of(trial.config)
        self._left.discard(number)
        # One that starts again would otherwise report its checkpoint's epochs once more, as if trained again.
        if isinstance(number, int):
            trial.config["epochs_recorded"] = self._epochs_recorded.get(number, 0)
        elif self._retrainings is not None:
            trial.config["epochs_recorded"] = self._retrainings.record(number).epochs_trained
        if tune_controller is not None:  # a simulation has no workers
            self._controller = tune_controller._tune_controller
            # Ray would end all idle workers but one, and a new one takes seconds to start.
            self._controller._actor_cache.increase_max(trial.placement_group_factory)
        if self._checkpoints is not None and (newest := self._checkpoints.newest(number)) is not None:
            trial.config["checkpoint"] = ray.put(newest)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """The trial for a free worker. First goes through the reports whose checkpoints have been written."""
        controller = tune_controller._tune_controller
        for trial, writing, result in list(self._held.values()):
            if writing.done():
                del self._held[trial.trial_id]
                writing.result()
                controller._execute_action(trial, self._decide(trial, result))
        trials: list[Trial] = tune_controller.get_trials()
        for trial in trials:
            if trial.status == Trial.PENDING:
                worker = controller._trial_to_actor.get(trial)
                # Given a free worker, a trial loses its own. Where trials end faster than a worker starts, the
                # workers of a node that joined would never be ready.
                if worker is None or not controller._actor_manager.is_actor_started(worker):
                    return trial
        return None

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Records the report and answers CONTINUE or STOP; NOOP while its checkpoint is being written."""
        trial.config.pop("checkpoint", None)  # the worker has it; Ray keeps the config of every trial
        if "steps" in result:
            return TrialScheduler.CONTINUE
        checkpoint = result.pop("checkpoint", None)
        if checkpoint is None:
            return self._decide(trial, result)
        assert self._checkpoints is not None
        writing = self._writers.submit(self._checkpoints.write, trial_of(trial.config), checkpoint)
        if not self._held:
            wait([writing], _WRITE_PATIENCE_S)
        if writing.done():
            writing.result()
            return self._decide(trial, result)
        self._held[trial.trial_id] = trial, writing, result
        return TrialScheduler.NOOP

    def _decide(self, trial: Trial, result: dict[str, Any]) -> str:
        """Records the report, with all that follows from it in one write."""
        with self._study.one_write():
            return self._record(trial_of(trial.config), result)

    def _record(self, number: TrialId, result: dict[str, Any]) -> str:
        if isinstance(number, str):
            assert self._retrainings is not None
            return _answer(self._retrainings.report(number, result) or self._leaves(number, result["epoch"]))
        if "ended" in result:
            self._study.finish(number, TrialStatus(result["ended"]), error=result["error"])
            return TrialScheduler.STOP
        epoch, score = int(result["epoch"]), float(result["val_score"])
        if epoch <= self._epochs_recorded.get(number, 0):
            self._repeated_s[number] += result.get("seconds", 0.0)
            return _answer(self._leaves(number, epoch))
        metrics = {key: result[key] for key in EPOCH_METRICS if key in result}
        if repeated_s := self._repeated_s.pop(number, 0.0):
            metrics["repeated_s"] = repeated_s
        self._study.record_epoch(number, epoch=epoch, score=score, metrics=metrics)
        self._epochs_recorded[number] = epoch
        if epoch >= self._max_epochs:
            self._study.finish(number, TrialStatus.COMPLETED, value=score)
            self._rule.complete(number)
            return TrialScheduler.STOP
        return _answer(self._rule.reach(number, epoch, score) or self._leaves(number, epoch))

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A worker died. The trial has failed unless it starts again, which it does whenever a whole node was lost."""
        if (held := self._held.pop(trial.trial_id, None)) is not None:
            wait([held[1]])
        if _NODE_LOST.search(_last_failure(trial)):
            # Not the trial's failure: Ray starts it again, or ends it, and then the searcher suggests it again.
            trial.run_metadata.num_failures -= 1
            return
        is_pending = trial.status == Trial.PENDING
        if not is_pending and trial.should_recover():  # type: ignore[no-untyped-call]
            return
        number = trial_of(trial.config)
        # Ray does not restart a trial whose idle worker was found dead; the searcher suggests such a trial again.
        self._num_restarts[number] += is_pending
        if is_pending and self._num_restarts[number] <= trial.max_failures:
            return
        error = self._reasons_to_kill.get(number) or _worker_error(_last_failure(trial)) or WORKER_DIED
        if isinstance(number, int):
            self._study.finish(number, TrialStatus.FAILED, error=error)
        elif self._retrainings is not None:
            self._retrainings.fail(number, error)

    def end_idle_workers(self) -> None:
        """Ends workers without a trial that the steering does not keep; their GPUs and memory are free then."""
        num_kept, controller = self._steering.num_idle_kept, self._controller
        if controller is None or num_kept is None:
            return
        cache = controller._actor_cache
        for kind in list(cache._cached_objects):
            while cache.num_cached_objects > num_kept and cache.has_cached_object(kind):
                worker = cache.pop_cached_object(kind)
                worker.set_on_stop(None)
                worker.set_on_error(None)
                controller._remove_actor(tracked_actor=worker)
        if controller._stopping_actors and not self._steering.live:
            # Ray handles no events while it waits for a trial.
            controller._actor_manager.next(timeout=0.1)
            controller._cleanup_stopping_actors()

    def is_waiting(self, trial: TrialId) -> bool:
        """Whether the trial has left its worker without an end."""
        at_rung = self.promotions is not None and isinstance(trial, int) and self.promotions.is_paused(trial)
        return at_rung or trial in self._left

    def _leaves(self, trial: TrialId, epoch: int) -> bool:
        """Whether a trial that could go on leaves its worker, because people want the worker for something else."""
        is_leaving = self._steering.must_leave(trial, is_at_rung=epoch in self._rung_epochs)
        if is_leaving:
            self._left.add(trial)
        return is_leaving

    def will_be_killed(self, trial: TrialId, reason: str) -> None:
        """The trial's worker is about to be killed; `reason` becomes the trial's error."""
        self._reasons_to_kill[trial] = reason

    def is_over(self, trial: TrialId) -> bool:
        """Whether the trial has ended for good. A paused trial has not, nor has a retraining that awaits its test."""
        if isinstance(trial, int):
            return self._study.trial(trial).status is not TrialStatus.RUNNING
        record = self._study.retrain(trial)
        return record is not None and record.is_ended

    def needs_checkpoints(self, trial: TrialId) -> bool:
        """Whether the trial may go on from a checkpoint: it is not over, nor does it start anew after its pause."""
        is_paused = isinstance(trial, int) and self.promotions is not None and self.promotions.is_paused(trial)
        return not self.is_over(trial) and not (is_paused and self._starts_anew)


def _answer(is_stop: bool) -> str:
    return str(TrialScheduler.STOP if is_stop else TrialScheduler.CONTINUE)


def _last_failure(trial: Trial) -> str:
    """What Ray says of the trial's last failure; it keeps this in a file only, after each "Failure # N"."""
    try:
        text = Path(getattr(trial, "error_file", None) or "").read_text(encoding="utf-8")
    except OSError:
        return ""
    return text.rpartition("Failure # ")[2]


def _worker_error(failure: str) -> str | None:
    """What stopped a worker from working, as a module that it cannot import; None if it just died."""
    errors = re.findall(r"^\s*((?:\w+\.)*\w+(?:Error|Exception): .+)$", failure, re.MULTILINE)
    return f"the worker failed: {errors[-1].strip()}" if errors else None
