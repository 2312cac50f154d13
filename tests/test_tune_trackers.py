"""The trackers: their files read back by their own libraries, and what becomes of one that is down."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.tune.logger import LoggerCallback

import tune_main
from model.config import SEED_CONFIG
from search.machine.slots import Slots
from search.settings import SearchSettings
from search.study.record import NewTrial, TrialStatus
from search.study.study import RunStudy
from search.tune import trackers
from search.tune.trackers import Tracker, Tracking, tracking

SCORES = {0: (0.25, 0.5), 1: (0.375,), 2: (0.125,)}
ENDS = {0: TrialStatus.COMPLETED, 1: TrialStatus.STOPPED}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take minutes to import MLflow."""
    monkeypatch.setattr(trackers, "PATIENCE_S", 300.0)


def metrics_of(epoch: int, score: float) -> dict[str, Any]:
    """What a worker reports, and what Ray adds to it."""
    ours = {
        "epoch": epoch,
        "val_accuracy": score,
        "val_score": score,
        "val_loss": 1.0,
        "train_loss": 2.0,
        "lr": 0.1,
        "seconds": 3.0,
    }
    return {**ours, "images_per_s": 50.0, "worker": "host:1", "pid": 7, "trial_id": "abc", "done": False}


def play(settings: SearchSettings) -> list[str]:
    """A completed trial, one that is stopped, one that is cut off; returns the warnings."""
    settings.run_dir.mkdir(parents=True)
    study = RunStudy.in_memory()
    warnings: list[str] = []
    with tracking(settings, study, warnings.append) as told:
        for number, scores in SCORES.items():
            study.add_trial(NewTrial(config=SEED_CONFIG.flat(), seed=number))
            for epoch, score in enumerate(scores, 1):
                study.record_epoch(number, epoch=epoch, score=score, metrics={})
                told.report(number, metrics_of(epoch, score))
            if number in ENDS:
                study.finish(number, ENDS[number], value=scores[-1])
                told.end(study.trial(number))
    return warnings


def test_tensorboard_files_hold_curves_and_hparams(tmp_path: Path) -> None:
    reading = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the extra [tensorboard] is not installed"
    )
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    assert play(SearchSettings(run_name="run", results_dir=tmp_path, tensorboard=True)) == []
    for number, scores in SCORES.items():
        events = reading.EventAccumulator(str(tmp_path / "run" / "tensorboard" / f"trial-{number:04d}")).Reload()
        curve = [(event.step, event.value) for event in events.Scalars("ray/tune/val_accuracy")]
        assert curve == list(enumerate(scores, 1))
        assert "ray/tune/pid" not in events.Tags()["scalars"]
        content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        hparams = HParamsPluginData.FromString(content).session_start_info.hparams
        assert hparams["lr"].number_value == pytest.approx(SEED_CONFIG.recipe.lr)
        assert hparams["optimizer"].string_value == SEED_CONFIG.recipe.optimizer
        assert hparams["trial_number"].number_value == number


@pytest.mark.slow
def test_mlflow_holds_curves_configs_and_ends(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="the extra [mlflow] is not installed")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert play(SearchSettings(run_name="run", results_dir=tmp_path, mlflow=uri)) == []
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("run")
    runs = {int(run.data.params["trial_number"]): run for run in client.search_runs([experiment.experiment_id])}
    assert {number: run.info.status for number, run in runs.items()} == {0: "FINISHED", 1: "FINISHED", 2: "FAILED"}
    for number, scores in SCORES.items():
        history = client.get_metric_history(runs[number].info.run_id, "val_accuracy")
        assert [(metric.step, metric.value) for metric in history] == list(enumerate(scores, 1))
        assert runs[number].data.params["lr"] == str(SEED_CONFIG.recipe.lr)
        assert runs[number].info.run_name == f"trial {number}"


@pytest.mark.slow
def test_wandb_s_offline_files_hold_curves_and_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra [wandb] is not installed")
    from search.tune.cluster import ray_cluster

    monkeypatch.setenv("WANDB_MODE", "offline")
    with ray_cluster(Slots(num_concurrent=2, cpus_per_trial=1, gpus_per_trial=0.0, gpus=0), tmp_path / "ray.log"):
        assert play(SearchSettings(run_name="run", results_dir=tmp_path, wandb="project")) == []
    seen = {}
    for path in (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"):
        number, config, curve = read_wandb(path)
        assert config["lr"] == SEED_CONFIG.recipe.lr
        seen[number] = curve
    assert seen == {number: list(enumerate(scores, 1)) for number, scores in SCORES.items()}


def leveldb_records(content: bytes) -> Iterator[bytes]:
    """The messages in a W&B file, a LevelDB log behind 7 bytes of header; W&B's own reader of it is not Python."""
    assert content[:4] == b":W&B"
    offset, message = 7, b""
    while offset + 7 <= len(content):
        room = 32768 - offset % 32768
        if room < 7:  # too short for a header: the block's end
            offset += room
            continue
        _crc, length, kind = struct.unpack_from("<IHB", content, offset)
        message += content[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield message
            message = b""


def read_wandb(path: Path) -> tuple[int, dict[str, Any], list[tuple[int, float]]]:
    """Trial number, config and (step, validation accuracy) from W&B's own file of a run."""
    import json

    from wandb.proto.wandb_internal_pb2 import Record

    config: dict[str, Any] = {}
    curve = []
    for data in leveldb_records(path.read_bytes()):
        record = Record.FromString(data)
        for update in [*record.run.config.update, *record.config.update]:
            config[update.key or update.nested_key[0]] = json.loads(update.value_json)
        if record.HasField("history"):
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            curve.append((int(row["_step"]), float(row["val_accuracy"])))
    return config["trial_number"], config, curve


class Unlucky(LoggerCallback):
    """Fails or hangs where it is told to."""

    def __init__(self, error: BaseException | None = None, hang: threading.Event | None = None) -> None:
        self.error = error
        self.hang = hang
        self.num_results = 0

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        self.num_results += 1
        if self.hang is not None:
            self.hang.wait(20)
        if self.error is not None:
            raise self.error


class Listening(LoggerCallback):
    """Remembers the epochs that it is told of."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        self.epochs.append(iteration)


def test_a_trial_that_begins_anew_has_one_point_for_each_epoch(tmp_path: Path) -> None:
    study, callback, warnings = RunStudy.in_memory(), Listening(), list[str]()
    study.add_trial(NewTrial(config=SEED_CONFIG.flat(), seed=0))
    told = Tracking([Tracker("It", lambda: callback, warnings.append)], study, tmp_path, SearchSettings(run_name="run"))
    for epoch in (1, 2, 1, 2, 3):
        told.report(0, metrics_of(epoch, 0.5))
    told.close()
    assert (callback.epochs, warnings) == ([1, 2, 3], [])


def told_by(callback: LoggerCallback, folder: Path) -> tuple[list[str], float]:
    """Warnings, and the seconds that telling took, of a tracker told of all epochs."""
    study = RunStudy.in_memory()
    warnings: list[str] = []
    told = Tracking([Tracker("It", lambda: callback, warnings.append)], study, folder, SearchSettings(run_name="run"))
    start = time.monotonic()
    for number, scores in SCORES.items():
        study.add_trial(NewTrial(config=SEED_CONFIG.flat(), seed=number))
        for epoch, score in enumerate(scores, 1):
            told.report(number, metrics_of(epoch, score))
    seconds = time.monotonic() - start
    told.close()
    return warnings, seconds


@pytest.mark.parametrize("error", [RuntimeError("it is\ndown"), SystemExit("it is down")])
def test_a_tracker_that_fails_is_warned_of_once(tmp_path: Path, error: BaseException) -> None:
    callback = Unlucky(error)
    warnings, _ = told_by(callback, tmp_path)
    assert warnings == ["It stopped working, the run goes on without it: it is down"]
    assert callback.num_results == 1


def test_a_tracker_that_hangs_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "PATIENCE_S", 0.2)
    hang = threading.Event()
    warnings, seconds = told_by(Unlucky(hang=hang), tmp_path)
    hang.set()
    assert seconds < 0.5
    assert warnings == ["It did not catch up within 0 s; the run's record has what it lacks"]


def test_a_server_that_is_down_costs_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the extra [mlflow] is not installed")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = "http://127.0.0.1:9"  # nothing listens there
    (warning,) = play(SearchSettings(run_name="run", results_dir=tmp_path, mlflow=uri))
    assert warning.startswith(f"MLflow at {uri} stopped working, the run goes on without it: ")
    assert "\n" not in warning


def test_wandb_without_a_key_costs_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the extra [wandb] is not installed")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (warning,) = play(SearchSettings(run_name="run", results_dir=tmp_path, wandb="project"))
    assert warning.startswith("Weights & Biases stopped working, the run goes on without it: ")


@pytest.mark.parametrize(("flag", "value"), [("mlflow", "http://127.0.0.1:9"), ("wandb", "project")])
def test_a_missing_extra_is_refused_before_work(
    tmp_path: Path, flag: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("search.setup.extras.find_spec", lambda name: None)
    arguments = ["--dataset", "digits", "--results-dir", str(tmp_path), "--name", "r", f"--{flag}", value]
    assert tune_main.main(arguments) == 2
    assert capsys.readouterr().err == (
        f"tune_main.py: error: --{flag} needs {flag}, not installed here: pip install -e '.[{flag}]'\n"
    )
    assert not (tmp_path / "r").exists()
