"""The report's page: whole for every kind of run, escaped, small, and its figures valid for plotly."""

from __future__ import annotations

import html.parser
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from fabricated_run import (
    CLASS_NAMES,
    SPACE,
    add_finals,
    add_retrains,
    add_trial,
    add_trials,
    finalist_numbers,
    make_run,
    record_epoch,
)
from search.schedulers.audit import Audit

from search.analysis.results import Run
from search.analysis.summary import summary_text
from search.errors import UserError
from search.report.html import Html, element, joined, json_data, table
from search.report.page import LivePage, write_report
from search.study.record import NewTrial, RungDecision, TrialStatus
from search.study.study import RunStudy


def write_page(run: Run, *, is_running: bool = False) -> str:
    """The page that the run gets, without plotly's script."""
    write_report(run, is_running=is_running)
    text = (run.run_dir / "report.html").read_text()
    start = text.index("<script>/**\n* plotly.js")
    return text[:start] + text[text.index("</script>", start) + len("</script>") :]


def figures_of(page: str) -> dict[str, dict[str, Any]]:
    """The page's figures by name."""
    blocks = re.findall(r'<script type="application/json" id="data-([^"]+)">(.*?)</script>', page)
    return {name: json.loads(text) for name, text in blocks if name != "trial-labels"}


class Balance(html.parser.HTMLParser):
    """Fails where an element is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check_page(page: str) -> None:
    """Balanced, no number that is none, all figures good for plotly."""
    balance = Balance()
    balance.feed(page)
    assert not balance.open
    assert not re.search(r"\b(nan|NaN|None|Infinity)\b", page.split("<style>")[0] + page.split("</style>")[1])
    for name, figure in figures_of(page).items():
        coloured = json.loads(re.sub(r'"--[a-z0-9-]+"', '"#123456"', json.dumps(figure)))
        go.Figure(coloured)
        assert f'id="plot-{name}"' in page


def one_trial(study: RunStudy) -> None:
    add_trials(study, 1)


def all_failed(study: RunStudy) -> None:
    for seed in range(3):
        number = add_trial(study, SPACE.draw(random.Random(seed)))
        study.finish(number, TrialStatus.FAILED, error="RuntimeError: <boom> & more")


def all_diverged(study: RunStudy) -> None:
    number = add_trial(study, SPACE.draw(random.Random(0)))
    study.finish(number, TrialStatus.DIVERGED, error="the loss is no finite number in epoch 1, step 5")


def nothing_yet(study: RunStudy) -> None:
    study.add_trial(NewTrial(config=SPACE.draw(random.Random(0)), seed=1), is_rejected=True)


def interrupted(study: RunStudy) -> None:
    add_trials(study, 5)
    number = add_trial(study, SPACE.draw(random.Random(9)))
    record_epoch(study, number, 1, 0.4, recorded_at=1_800_000_500.0, worker="host:7")


def interrupted_after_first_epoch(study: RunStudy) -> None:
    number = add_trial(study, SPACE.draw(random.Random(9)))
    record_epoch(study, number, 1, 0.4, recorded_at=1_800_000_500.0, worker="host:7")


def interrupted_after_first_rung(study: RunStudy) -> None:
    """One trial stopped there, one let through and cut off before the next epoch."""
    for score, is_stopped in ((0.6, False), (0.4, True)):
        number = add_trial(study, SPACE.draw(random.Random(9)))
        record_epoch(study, number, 1, score, recorded_at=1_800_000_500.0 + number, worker="host:7")
        cutoff = 0.6 if is_stopped else None
        decision = RungDecision(epoch=1, score=score, cutoff=cutoff, num_scores=number + 1, is_stopped=is_stopped)
        study.record_rung(number, decision)
        if is_stopped:
            study.finish(number, TrialStatus.STOPPED)


def one_class_to_validate(study: RunStudy) -> None:
    """All images of one class: whoever answers it always is right."""
    for index in range(10):
        number = add_trial(study, SPACE.draw(random.Random(index)))
        for epoch in range(1, 10):
            record_epoch(study, number, epoch, 1.0, recorded_at=1.8e9 + 200 * index + epoch, worker="host:1")
        study.finish(number, TrialStatus.COMPLETED, value=1.0)


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (one_trial, "The best trial so far is trial 0"),
        (all_failed, "No trial ended with a score: 3 failed or diverged."),
        (all_diverged, "No trial ended with a score: 1 failed or diverged."),
        (nothing_yet, "No trial has finished an epoch yet."),
        (interrupted, "it has not been retrained"),
        (interrupted_after_first_epoch, "The best trial so far is trial 0"),
        (interrupted_after_first_rung, "The best trial so far is trial 0 with a validation accuracy of 60.00"),
        (one_class_to_validate, "validation accuracy of 100.00"),
    ],
)
@pytest.mark.parametrize("is_running", [False, True])
@pytest.mark.parametrize("settings", [{}, {"retrain_top": 3, "retrain_seeds": 2, "audit": 0.1}])
def test_every_kind_of_run_has_a_page(
    tmp_path: Path, fill: Callable[[RunStudy], None], words: str, is_running: bool, settings: dict[str, Any]
) -> None:
    run = make_run(tmp_path / "run", fill, **settings)
    page = write_page(run, is_running=is_running)
    check_page(page)
    assert words in page
    assert words in summary_text(run).splitlines()[2].replace(" %", "\u00a0%")
    assert ("The audit let no trial go on past its stop" in page) == ("audit" in settings)
    assert ('http-equiv="refresh"' in page) == is_running


@pytest.mark.parametrize("fill", [one_trial, interrupted, one_class_to_validate])
def test_a_retrained_run_has_its_winner_on_the_page(tmp_path: Path, fill: Callable[[RunStudy], None]) -> None:
    run = make_run(tmp_path / "run", fill)
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.8})
    page = write_page(run)
    check_page(page)
    assert {"confusion", "classes", "retrain", "curves", "timeline"} <= set(figures_of(page))
    assert page.count("data:image/png;base64,") == 24


def test_test_images_of_a_single_class(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", one_trial, class_names=("only",))
    add_retrains(run, accuracies={"winner": 1.0, "default": 1.0})
    page = write_page(run)
    check_page(page)
    assert "The search did not beat the seed config, which is its own choice and gets 100.00" in page
    assert "Most surely wrong" not in page


def test_five_hundred_trials_are_under_ten_megabytes(tmp_path: Path) -> None:
    audit = Audit(fraction=0.05)
    settings = {"retrain_top": 3, "retrain_seeds": 3, "audit": 0.05}
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 500, audit=audit), **settings)
    add_finals(run, dict.fromkeys(finalist_numbers(run), (0.8, 0.81, 0.79)))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.8, "default": 0.85}, num_images=10_000, num_seeds=3)
    page = write_page(run)
    check_page(page)
    assert "went on to the end for the audit" in page
    assert (run.run_dir / "report.html").stat().st_size < 10e6
    assert len(summary_text(run)) < 10_000


def test_finals_and_audit_are_on_the_page_and_in_the_summary(tmp_path: Path) -> None:
    settings = {"retrain_top": 2, "retrain_seeds": 3, "audit": 1.0, "search_examples": 1000}
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12, audit=Audit(fraction=1.0)), **settings)
    first, second = finalist_numbers(run)
    add_finals(run, {first: (0.5, 0.5, 0.5), second: (0.62, 0.64, 0.66)})
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.5, "default": 0.6}, num_seeds=3)
    page, summary = write_page(run), summary_text(run)
    check_page(page)
    assert f"<td>{second}, the winner</td>" in page
    assert f"| {second}, the winner |" in summary
    # 64 % on average, standard deviation 2 points; Student's t of two degrees of freedom.
    for text in (page, summary):
        assert "64.00 %" in text
        assert "59.03 to 68.97" in text
        assert "Trials trained on 1,000 images and finalists on the whole training split" in text
        assert "went on to the end for the audit" in text
    for title in ("the seed config", "the space&#x27;s default"):
        assert f"gain over {title}" in page
    assert summary.splitlines()[2].startswith("The network that the search chose gets ")
    assert summary.count("over seeds).") == 2
    assert "audited: it was to be stopped at epoch 1" in page
    assert "The winner was chosen from the first of them on fresh seeds." in page


def test_a_run_recorded_before_there_were_finals_is_shown_as_it_was(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", lambda study: add_trials(study, 12))
    add_retrains(run, accuracies={"winner": 0.9, "seed": 0.5})
    page, summary = write_page(run), summary_text(run)
    check_page(page)
    assert "The optimism of the selection" in page
    assert "was not measured" in summary
    assert "over the test images, one seed each" in summary
    assert "optimism of the selection</div>" not in page


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", all_failed)
    page = write_page(run)
    assert "<boom>" not in page
    assert "RuntimeError: &lt;boom&gt; &amp; more" in page
    assert "<i>fell back</i>" not in page
    assert "--name &#x27;&lt;b&gt;x&lt;/b&gt;&#x27;" in page
    run = make_run(tmp_path / "other", one_trial)
    add_retrains(run, accuracies={"winner": 0.9})
    page = write_page(run)
    assert CLASS_NAMES[2] not in page
    assert figures_of(page)["confusion"]["data"][0]["x"][2:] == [
        "&lt;script&gt;alert('cat')&lt;/script&gt;",
        "a &amp; b",
    ]


def test_an_old_page_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", one_trial)
    write_report(run)
    (run.run_dir / "space.toml").unlink()
    del run.__dict__["space"]  # read for the first page
    with pytest.raises(UserError, match=r"space\.toml cannot be read"):
        write_report(run)
    assert (run.run_dir / "report.html").exists()


def test_a_live_page_is_written_seldom_and_its_end_always(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", one_trial)
    RunStudy.in_database(f"sqlite:///{tmp_path / 'run' / 'study.db'}", "run")
    path, warnings = run.run_dir / "report.html", list[str]()
    page = LivePage(run.run_dir, warnings.append)
    page.update()
    assert "running" in path.read_text()
    path.unlink()
    page.update()  # too soon
    assert not path.exists()
    page.finish()
    assert path.exists()
    assert warnings == []


def test_a_live_page_that_fails_stops_nothing(tmp_path: Path) -> None:
    warnings = list[str]()
    LivePage(tmp_path / "no run", warnings.append).finish()
    assert len(warnings) == 1
    assert warnings[0].startswith("report.html could not be written: UserError: ")


def test_text_is_escaped_and_markup_is_not() -> None:
    assert element("p", "a < b", element("b", "&")) == "<p>a &lt; b<b>&amp;</b></p>"
    assert element("a", "x", href='"><b>', class_="y", aria_label="z") == (
        '<a href="&quot;&gt;&lt;b&gt;" class="y" aria-label="z">x</a>'
    )
    assert joined(["<", Html("<br>")]) == "&lt;<br>"
    assert table(["h"], [["<"]], numeric=[0]).count('class="number"') == 2


def test_data_cannot_end_its_element() -> None:
    text = json_data("x", {"name": "</script><script>alert(1)"})
    assert text.count("<") == 2
    assert json.loads(text[text.index(">") + 1 : text.rindex("<")]) == {"name": "</script><script>alert(1)"}
    with pytest.raises(ValueError, match="Out of range float values"):
        json_data("x", float("nan"))
