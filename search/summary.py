"""The tables and the summary that a run leaves beside its record."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from search.files import write_atomically
from search.progress import duration, percent
from search.results import Run
from search.selection import rank_trials
from search.study import TrialStatus


def write_results(run: Run) -> None:
    """trials.csv, trials.parquet, epochs.parquet, retrains.csv and summary.md, each whole or not at all."""
    trials = run.trials
    write_atomically(run.run_dir / "trials.csv", trials.to_csv(index=False))
    write_atomically(run.run_dir / "trials.parquet", _parquet(trials))
    write_atomically(run.run_dir / "epochs.parquet", _parquet(run.epochs))
    write_atomically(run.run_dir / "retrains.csv", run.retrains.to_csv(index=False))
    write_atomically(run.run_dir / "summary.md", summary_text(run))


def summary_text(run: Run) -> str:
    """What the run found and how, for a person."""
    lines = [f"# {run.document['settings']['run_name']}", ""]
    lines += [f"**Warning:** {warning}" for warning in run.document.get("warnings", [])]
    lines += [*_headline(run), "", *_search_lines(run), "", *_config_lines(run), "", *_origin_lines(run.document)]
    return "\n".join(lines) + "\n"


def _headline(run: Run) -> list[str]:
    rows: dict[str, Any] = {str(row["config_name"]): row for row in run.retrains.to_dict("records")}
    ranked = rank_trials(run.records)
    # An extended run that was cut off may hold the retraining of a winner that has been beaten since.
    if "winner" not in rows or not ranked or rows["winner"]["trial_number"] != ranked[0].number:
        return ["The winner has not been retrained yet, so there is no test accuracy."]
    lines = [
        "| config | test accuracy, single view | with flip TTA | parameters | multiply-adds | receptive field | time |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_retrain_line(name, rows[name]) for name in ("winner", "seed") if name in rows]
    epochs = rows["winner"]["epochs_trained"]
    lines += [
        "",
        f"Each trained once (1 seed) for {epochs} epochs on all training images; test accuracy of the last epoch.",
    ]
    if "seed" in rows:
        gain = 100 * (rows["winner"]["test_accuracy"] - rows["seed"]["test_accuracy"])
        verdict = "The search beat the seed config by" if gain > 0 else "The search did NOT beat the seed config:"
        lines.append(f"{verdict} {gain:+.2f} points (single view, 1 seed each).")
    return lines


def _retrain_line(name: str, row: dict[str, Any]) -> str:
    return (
        f"| {name} | {percent(row['test_accuracy'])} | {percent(row['test_accuracy_tta'])} | {row['num_params']:,} | "
        f"{row['multiply_adds'] / 1e6:.1f} M | {row['receptive_field']} | {duration(row['seconds'])} |"
    )


def _search_lines(run: Run) -> list[str]:
    records = run.records
    counts = {status: sum(record.status is status for record in records) for status in TrialStatus}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    epochs = sum(record.epochs_trained for record in records)
    lines = [f"Trials: {told or 'none'}. Epochs trained in trials: {epochs}."]
    ranked = rank_trials(records)
    if ranked:
        best = ranked[0]
        score = best.val_accuracies[best.epochs_trained]
        lines.append(
            f"Winner: trial {best.number} ({best.origin}), {best.status} after {best.epochs_trained} epochs with "
            f"validation accuracy {percent(score)} (single view; chosen by this number, so expect less elsewhere)."
        )
        if not best.is_within_limits:
            lines.append("**Warning:** no trial within the limits has a score; the winner is over them.")
    return lines


def _config_lines(run: Run) -> list[str]:
    ranked = rank_trials(run.records)
    if not ranked:
        return []
    rows = [f"| `{key}` | {value} |" for key, value in ranked[0].config.items()]
    return ["## The winner's config", "", "| key | value |", "|---|---|", *rows]


def _origin_lines(document: dict[str, Any]) -> list[str]:
    data, hardware, versions = document["data"], document["hardware"], document["versions"]
    return [
        "## How it was run",
        "",
        f"- command: `{document['command']}`",
        f"- data: {data['name']}, {data['num_train']:,} training and {data['num_val']:,} validation images of "
        f"{data['image_size']}x{data['image_size']} in the search; split {data['split_hash'][:16]}",
        f"- machine: {hardware['processor']}, {hardware['cpu_cores']} cores, GPUs: "
        f"{', '.join(hardware['gpus']) or 'none'}; {document['engine']['precision']}, " + _packing_text(document),
        f"- versions: {', '.join(f'{name} {version}' for name, version in versions.items())}",
    ]


def _packing_text(document: dict[str, Any]) -> str:
    """How many trials run side by side, and what that was measured to gain over one alone."""
    count = document["slots"]["num_concurrent"]
    tried = document.get("measurements", {}).get("packing", [])
    if len(tried) < 2:
        return f"{count} trials side by side"
    gain = max(row["images_per_s"] for row in tried) / tried[0]["images_per_s"]
    return f"{count} trials side by side, measured to train {gain:.2f}x the images/s of one alone"


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
