"""The forecast and the verdict on it, in words, in run.toml and in the summary."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

from fabricated_run import add_trials, make_run

from search.analysis.results import load_run
from search.analysis.summary import write_results
from search.display.display import Display
from search.forecast.forecast import Forecast, Range
from search.forecast.wording import brief_line, plan_lines, verdict
from search.run import judge_forecast
from search.setup.run_folder import RunFolder

FORECAST = Forecast(
    num_concurrent=2,
    cpus_per_trial=1,
    gpus=0,
    endings={"completed": 6.5, "stopped": 13.5},
    epochs=Range(median=210.4, low=150, high=290),
    retrain_epochs=55.6,
    search_s=Range(median=3300, low=3000, high=3600),
    retrain_s=Range(median=1500, low=1400, high=1600),
    wall_s=Range(median=4800, low=3720, high=6600),
    device_s=Range(median=9360, low=7200, high=12600),
    disk_bytes=310_000_000,
    memory_bytes=2_100_000_000,
    slowdown=1.1,
    num_measured=1,
    num_rehearsals=40,
)


def test_the_whole_forecast_in_words() -> None:
    assert plan_lines(FORECAST, free_disk=12_000_000_000, memory=25_000_000_000) == [
        "20.0 trials (6.5 completed, 13.5 stopped), 2 side by side, 1 CPU core each",
        "210 epochs in trials (150 to 290); retraining costs as much as 56 more",
        "wall time 1 h 20 min (1 h 02 min to 1 h 50 min): search 55 min 00 s, retraining 25 min 00 s",
        "2.6 (2 to 3.5) CPU hours; disk 310 MB of 12.0 GB free; memory of the trials 2.1 GB of 25.0 GB",
        "Medians (of trials: means) and 90 % intervals of 40 simulated runs; speeds by 1 measured config.",
    ]
    assert brief_line(FORECAST) == (
        "forecast: 1 h 20 min (1 h 02 min to 1 h 50 min) for 20 trials of 210 epochs together (150 to 290), "
        "2 side by side, 1 CPU core each, and the retraining"
    )


def test_gpus_and_a_busy_machine_in_words() -> None:
    changed = dataclasses.replace(FORECAST, gpus=1, num_concurrent=3, cpus_per_trial=4, slowdown=2.54, num_measured=9)
    assert "3 side by side on 1 GPU, 4 CPU cores each" in brief_line(changed)
    assert brief_line(changed).endswith("and the retraining, 2.5 times as slow as if nothing else ran here")
    lines = plan_lines(changed, free_disk=12_000_000_000, memory=25_000_000_000)
    assert lines[-1].endswith("by 9 measured configs, 2.5 times as slow as if nothing else ran here.")
    assert "2.6 (2 to 3.5) GPU hours" in lines[-2]
    assert lines[-2].endswith("GPU memory of the trials 2.1 GB")


def test_the_verdict_says_how_far_off() -> None:
    table = FORECAST.table()
    assert verdict(table) is None
    assert verdict({}) is None
    assert verdict({**table, "actual_wall_s": 6000.0, "actual_epochs": 300}) == (
        "The forecast was 1 h 20 min (1 h 02 min to 1 h 50 min), and it took 1 h 40 min: +25 %, within the interval; "
        "210 epochs in trials (150 to 290), and there were 300."
    )
    assert "-50 %, outside the interval" in str(verdict({**table, "actual_wall_s": 2400.0, "actual_epochs": 300}))


def test_a_finished_run_is_judged_on_the_screen_in_run_toml_and_in_the_summary(tmp_path: Path) -> None:
    made = make_run(tmp_path / "r", lambda study: add_trials(study, 6))
    epochs = sum(record.epochs_trained for record in made.records)
    RunFolder(made.run_dir).write_forecast(FORECAST.table())
    run = load_run(made.run_dir)
    run.__dict__["study"] = made.study
    screen = io.StringIO()
    judge_forecast(run, 2400.0, Display(screen))
    assert screen.getvalue().startswith("The forecast was 1 h 20 min")
    assert screen.getvalue().endswith(f"and there were {epochs}.\n")

    judged = load_run(made.run_dir)
    judged.__dict__["study"] = made.study
    assert (judged.document.forecast or {})["actual_epochs"] == epochs
    assert (judged.document.forecast or {})["wall_s"] == {"median": 4800, "low": 3720, "high": 6600}
    write_results(judged)
    assert screen.getvalue().strip() in (made.run_dir / "summary.md").read_text()


def test_a_run_without_a_forecast_is_not_judged(tmp_path: Path) -> None:
    made, screen = make_run(tmp_path / "r", lambda study: add_trials(study, 2)), io.StringIO()
    judge_forecast(made, 2400.0, Display(screen))
    assert screen.getvalue() == ""
