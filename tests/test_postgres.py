"""The record on a PostgreSQL server: restarts, outages, passwords, and runs from its start to its page."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import REPOSITORY, new_run, started, story
from postgres_server import MISSING, PASSWORD, Server, postgres_server
from search_worlds import Rungs, search

from search.errors import UserError
from search.settings import SearchSettings
from search.study.study import RunStudy, open_study

pytestmark = [pytest.mark.postgres, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]


@pytest.fixture(scope="module")
def shared() -> Iterator[Server]:
    with postgres_server() as server:
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("PGPASSWORD", PASSWORD)
            RunStudy.in_database(server.url, "tables")  # creates Optuna's tables
        yield server


@pytest.fixture
def server(shared: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    yield shared
    if shared.process is None:
        shared.start()


def scores(study: RunStudy) -> list[object]:
    return [(trial.number, trial.config, trial.status, trial.scores, trial.rungs) for trial in study.trials()]


def test_a_search_has_the_same_record_as_in_memory_and_keeps_no_connection(server: Server) -> None:
    held, stored, rungs = RunStudy.in_memory(), RunStudy.in_database(server.url, "same"), Rungs(scheduler="promotion")
    search(held, 12, rungs=rungs)
    search(stored, 12, rungs=rungs)
    count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
    [(num_before,)] = server.ask(count)
    readers = [RunStudy.in_database(server.url, "same") for _ in range(5)]
    assert scores(held) == scores(stored) == scores(readers[-1])
    assert [(trial.started, trial.ended) for trial in stored.trials()] == [
        (trial.started, trial.ended) for trial in readers[0].trials()
    ]
    [(num_after,)] = server.ask(count)
    assert num_after <= num_before, "one that was closing before may be gone"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_restart_between_two_writes_goes_unnoticed(server: Server, how: signal.Signals) -> None:
    study = RunStudy.in_database(server.url, how.name)
    study.set_note("before", 1)
    server.stop(how)
    server.start()
    study.set_note("after", 2)
    assert RunStudy.in_database(server.url, how.name).notes().items() >= {"before": 1, "after": 2}.items()
    assert study.seconds_away == 0


def test_a_restart_in_the_middle_of_a_write_loses_and_doubles_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is killed at random moments of a search that writes without a pause."""
    monkeypatch.setattr("search.study.transactions._RETRY_S", 0.02)
    expected, study = RunStudy.in_memory(), RunStudy.in_database(server.url, "middle")
    search(expected, 18)
    is_over = threading.Event()

    def restart() -> None:
        while not is_over.wait(0.05):
            server.stop(signal.SIGQUIT)
            server.start()

    restarts = threading.Thread(target=restart)
    restarts.start()
    try:
        search(study, 18)
    finally:
        is_over.set()
        restarts.join()
    assert study.seconds_away > 0
    assert scores(RunStudy.in_database(server.url, "middle")) == scores(expected)


@pytest.mark.parametrize(
    ("url", "password", "reason"),
    [
        ("{url}", "wrong", "password authentication failed"),
        ("{url}", "", "no password supplied"),
        ("{url}_gone", PASSWORD, 'database "postgres_gone" does not exist'),
        ("postgresql+psycopg://tester@127.0.0.1:1/postgres", PASSWORD, "Connection refused"),
    ],
)
def test_a_server_that_cannot_be_used_is_named_in_one_line(
    server: Server, monkeypatch: pytest.MonkeyPatch, url: str, password: str, reason: str
) -> None:
    monkeypatch.setenv("PGPASSWORD", password)
    storage = url.format(url=server.url)
    with pytest.raises(UserError) as refused:
        open_study(SearchSettings(run_name="refused", storage=storage))
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"--storage {storage} cannot be opened: ")
    assert reason in line
    assert line.endswith("and the password in PGPASSWORD or ~/.pgpass.")


@pytest.mark.slow
def test_a_wrong_password_is_refused_before_work_begins(server: Server, tmp_path: Path) -> None:
    done = program(tmp_path, "--storage", server.url, "--dataset", "digits", PGPASSWORD="wrong")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "results").glob("*"))


def test_a_database_that_lost_the_run_is_named(server: Server, tmp_path: Path) -> None:
    settings = SearchSettings(run_name="never", results_dir=tmp_path, storage=server.url)
    with pytest.raises(UserError, match="the database holds no run named never"):
        open_study(settings, create=False)


@pytest.mark.slow
def test_a_run_waits_for_its_server_and_leaves_no_password(server: Server, tmp_path: Path) -> None:
    with started(tmp_path, *new_run(tmp_path, name="calm")) as run:
        assert run.wait()[0] == 0
    with started(tmp_path, *new_run(tmp_path, "--storage", server.url, "--trial-timeout", "20s")) as run:
        for num_epochs, outage_s in ((3, 5), (9, 25)):
            wait_for_epochs(server, "tiny", num_epochs, run.process)
            server.stop()
            time.sleep(outage_s)
            server.start()
        code, output = run.wait()
        assert code == 0, output
    assert output.count("the record's server does not answer") in (1, 2)
    assert "Traceback" not in output
    assert story(tmp_path / "results" / "tiny") == story(tmp_path / "results" / "calm")
    files = [path for path in (tmp_path / "results" / "tiny").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"run.toml", "report.html", "summary.md", "trials.csv"}
    assert not any(PASSWORD.encode() in path.read_bytes() for path in files)
    assert PASSWORD not in output


@pytest.mark.slow
def test_a_server_that_stays_away_ends_the_run_and_it_can_be_resumed(server: Server, tmp_path: Path) -> None:
    with impatient(tmp_path, *new_run(tmp_path, "--storage", server.url, "--name", "away")) as run:
        wait_for_epochs(server, "away", 3, run)
        server.stop()
        output, _ = run.communicate(timeout=300)
    assert run.returncode == 1, output
    assert output.count("tune_main.py: error: ") == 1
    assert f"--storage {server.url}: no answer for" in output
    assert "Traceback" not in output
    done = program(tmp_path, "--resume", "results/away")
    assert (done.returncode, "Connection refused" in done.stderr) == (2, True)
    server.start()
    with impatient(tmp_path, "--resume", "results/away", patience_s=300.0) as run:
        wait_for_epochs(server, "away", 6, run)
        server.stop()
        assert run.stdout is not None
        assert any("the record's server does not answer" in line for line in run.stdout)
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGINT, output
    server.start()
    done = program(tmp_path, "--resume", "results/away")
    assert done.returncode == 0, done.stderr


def impatient(folder: Path, *words: object, patience_s: float = 4.0) -> subprocess.Popen[str]:
    """The command line, which waits for its server for so long only."""
    changed = f"import sys, search.study.transactions as it, tune_main; it.PATIENCE_S = {patience_s}"
    return subprocess.Popen(
        [sys.executable, "-c", f"{changed}; sys.exit(tune_main.main())", *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
    )


def wait_for_epochs(server: Server, name: str, num_epochs: int, process: subprocess.Popen[str]) -> None:
    """Until the server holds so many epochs of a run."""
    joined = "trial_intermediate_values JOIN trials USING (trial_id) JOIN studies USING (study_id)"
    query = f"SELECT count(*) FROM {joined} WHERE study_name = '{name}'"
    while server.ask(query)[0][0] < num_epochs:
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)


def program(folder: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line, run to its end."""
    return subprocess.run(
        [sys.executable, REPOSITORY / "tune_main.py", *map(str, words)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, **environment},
    )
