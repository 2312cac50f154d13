"""The tables and the summary in a run's folder."""

from __future__ import annotations

import io

import pandas as pd

from search.analysis.results import Run
from search.analysis.verdict import ConfigResult, Result
from search.analysis.wording import (
    FINALS_HEADINGS,
    accuracy_interval,
    estimate_cell,
    finals_rows,
    finals_sentences,
    gain_note,
    interval_sentence,
    interval_text,
)
from search.files import write_atomically
from search.forecast.wording import verdict
from search.setup.document import RunDocument
from search.study.record import TrialStatus
from search.text import duration, percent, points


def write_results(run: Run) -> None:
    """trials.csv, trials.parquet, epochs.parquet, retrains.csv and summary.md, each written atomically."""
    trials = run.trials
    write_atomically(run.run_dir / "trials.csv", trials.to_csv(index=False))
    write_atomically(run.run_dir / "trials.parquet", _parquet(trials))
    write_atomically(run.run_dir / "epochs.parquet", _parquet(run.epochs))
    write_atomically(run.run_dir / "retrains.csv", run.retrains.to_csv(index=False))
    write_atomically(run.run_dir / "summary.md", summary_text(run))


def summary_text(run: Run) -> str:
    """The result of the run as Markdown, the verdict first."""
    document = run.document
    result = run.result
    lines = [f"# {run.settings.run_name}", "", result.verdict, ""]
    lines += [f"**Warning:** {warning}" for warning in document.warnings]
    parts = [
        _result_lines(result),
        _finals_lines(run),
        _search_lines(run),
        _config_lines(run),
        _origin_lines(document),
    ]
    return "\n".join([*lines, *(line for part in parts if part for line in ("", *part))]) + "\n"


def _result_lines(result: Result) -> list[str]:
    if result.winner is None:
        return []
    results = [result.winner, *result.references]
    lines = [
        "| config | test accuracy, single view | 95 % interval | with flip TTA | 95 % interval | seeds | parameters | "
        "multiply-adds | receptive field | time |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *map(_result_line, results),
        "",
        f"Each trained from scratch for {result.winner.epochs} epochs on all training images, validation images "
        f"included; test accuracy of the last epoch. {interval_sentence(results)}",
    ]
    for gain in result.gains:
        lines.append(f"Gain over {gain.over.title}: {points(gain.difference.value)}, single view ({gain_note(gain)}).")
    return lines


def _result_line(result: ConfigResult) -> str:
    single, tta = result.test, result.test_tta
    cells = [
        result.name,
        estimate_cell(single),
        accuracy_interval(result),
        estimate_cell(tta),
        interval_text(tta.low, tta.high),
        str(single.n),
        f"{result.num_params:,}",
        f"{result.multiply_adds / 1e6:.1f} M",
        str(result.receptive_field),
        duration(result.seconds),
    ]
    return f"| {' | '.join(cells)} |"


def _finals_lines(run: Run) -> list[str]:
    if run.finals.winner is None:
        return []
    words = finals_sentences(run.finals, run.settings.search_examples)
    rows = finals_rows(run.finals)
    if not rows:
        return [words]
    head = [f"| {' | '.join(FINALS_HEADINGS)} |", "|" + "---|" * len(FINALS_HEADINGS)]
    return ["## On fresh seeds", "", *head, *(f"| {' | '.join(row)} |" for row in rows), "", words]


def _search_lines(run: Run) -> list[str]:
    records = run.records
    counts = {status: sum(record.status is status for record in records) for status in TrialStatus}
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    epochs = sum(record.epochs_trained for record in records)
    lines = [f"Trials: {told or 'none'}. Epochs trained in trials: {epochs}."]
    if run.finals.winner is not None:
        best = run.finals.winner.record
        role = "put it among the finalists" if run.finals.plan.has_finals else "picked it"
        lines.append(
            f"Winner: trial {best.number} ({best.origin}), {best.status} after {best.epochs_trained} epochs with "
            f"validation accuracy {percent(best.last_score)} (single view; this score {role}, so it is optimistic)."
        )
        if not best.is_within_limits:
            lines.append("**Warning:** no trial within the limits has a score; the winner is over them.")
    judged = verdict(run.document.forecast or {})
    return lines if judged is None else [*lines, judged]


def _config_lines(run: Run) -> list[str]:
    if run.finals.winner is None:
        return []
    rows = [f"| `{key}` | {value} |" for key, value in run.finals.winner.record.config.items()]
    return ["## The winner's config", "", "| key | value |", "|---|---|", *rows]


def _origin_lines(document: RunDocument) -> list[str]:
    data, hardware = document.data, document.hardware
    return [
        "## How it was run",
        "",
        f"- command: `{document.command}`",
        f"- data: {data.name}, {data.num_train:,} training and {data.num_val:,} validation images of "
        f"{data.image_size}x{data.image_size} in the search; split {data.split_hash[:16]}",
        f"- machine: {hardware.processor}, {hardware.cpu_cores} cores, GPUs: {', '.join(hardware.gpus) or 'none'}; "
        f"{document.engine.precision}, {_packing_text(document)}",
        f"- versions: {', '.join(f'{name} {version}' for name, version in document.versions.items())}",
    ]


def _packing_text(document: RunDocument) -> str:
    """The number of trials side by side, and the measured gain over one alone."""
    count = document.slots.num_concurrent
    tried = document.measurements.get("packing", [])
    if len(tried) < 2:
        return f"{count} trials side by side"
    gain = max(row["images_per_s"] for row in tried) / tried[0]["images_per_s"]
    return f"{count} trials side by side, which together train {gain:.2f}x the images/s of one alone"


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
