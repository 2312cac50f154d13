"""The page of a running search: written seldom, whole, and at no risk to the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fabricated_run import (
    make_run,
    reread,
)
from report_pages import one_trial

from search.errors import UserError
from search.report.page import LivePage, write_report
from search.study.study import RunStudy


def test_an_old_page_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", one_trial)
    write_report(run)
    (run.run_dir / "space.toml").unlink()
    with pytest.raises(UserError, match=r"space\.toml cannot be read"):
        write_report(reread(run))
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
