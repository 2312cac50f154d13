"""The pictures as plotly figures: the page's own data, in colours that need no page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fabricated_run import add_retrains, add_trials, make_run, reread

from search.analysis.results import Run
from search.errors import UserError
from search.report.page import PICTURES
from search.report.plots import Plots, load_run

NAMES = [name for name in vars(Plots) if not name.startswith("_")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = make_run(tmp_path_factory.mktemp("runs") / "run", lambda study: add_trials(study, 24))
    add_retrains(made, accuracies={"winner": 0.9})
    return reread(made)


def test_every_picture_of_the_page_has_its_method() -> None:
    assert len(NAMES) == sum(map(len, PICTURES.values()))


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_is_ready_to_show(run: Run, name: str) -> None:
    drawn = getattr(Plots(run), name)()
    for figure in drawn if isinstance(drawn, list) else [drawn]:
        assert figure.data
        assert '"--' not in json.dumps(json.loads(figure.to_json())), "a variable of the page's style"


def test_the_curves_are_those_of_the_trials_with_their_labels(run: Run) -> None:
    figure = Plots(run).curves()
    points = {
        (number, x): y
        for trace in figure.data
        if trace.mode == "lines"
        for number, x, y in zip(trace.customdata, trace.x, trace.y, strict=True)
        if x is not None
    }
    assert points == {(one.number, epoch): score for one in run.records for epoch, score in one.scores.items()}
    winner = next(trace for trace in figure.data if trace.name == "the winner")
    assert winner.line.color == "#1f5fa8"
    assert all("the winner" in text for text in winner.hovertext)


def test_a_run_on_disk_has_its_pictures(run: Run) -> None:
    assert isinstance(load_run(run.run_dir).plot, Plots)


def test_a_picture_that_is_not_there_yet_says_so(tmp_path: Path) -> None:
    young = make_run(tmp_path / "run", lambda study: add_trials(study, 1))
    with pytest.raises(UserError, match=r"run has nothing to show in this picture yet\.$"):
        Plots(young).confusion()
    with pytest.raises(UserError, match=r"yet\. At epoch 1, .* score above chance level"):
        Plots(young).importances()
