"""The service tells people what a run cannot tell itself; its runs name their owner and its page."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")
pytest.importorskip("apprise", reason="the extra [notify] is not installed")

from served import served, wait_until
from webhooks import webhook_receiver

import tune_main
from search.service.store import RunEntry, RunState
from search.service.supervisor import MAX_DEATHS


def test_a_run_that_is_given_up_and_an_empty_queue_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVLADDER_WEBHOOK_SECRET", "of the lab")
    doomed = RunEntry(
        name="doomed",
        owner="ada",
        request={},
        arguments=("--dataset=digits", "--name=doomed", f"--results-dir={tmp_path / 'results'}"),
        num_gpus=0,
        cores=1,
        num_deaths=MAX_DEATHS,
    )
    with webhook_receiver() as (address, received), served(tmp_path, notify=address) as (_, service):
        service.runs.store.add(doomed)

        def pid() -> int | None:
            entry = service.runs.store.run("doomed")
            return None if entry is None else entry.pid

        wait_until(pid)
        started = psutil.Process(pid())
        environment = started.environ()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        wait_until(lambda: len(received) == 2)
        ended = service.runs.store.run("doomed")
        assert ended is not None
        assert ended.state is RunState.FAILED
    link = "https://lab.example/runs/doomed"
    assert (environment["CONVLADDER_OWNER"], environment["CONVLADDER_LINK"]) == ("ada", link)
    told = [json.loads(body) for _, body in received]
    assert [(one["event"], one["run"], one["owner"], one["link"]) for one in told] == [
        ("failed", "doomed", "ada", link),
        ("queue_empty", "doomed", "ada", link),
    ]
    assert told[0]["words"]


def test_where_no_word_can_go_is_refused_before_anything_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVLADDER_NOTIFY", "")
    words = ["serve", "--results-dir", str(tmp_path), "--port", "0", "--notify", "carrier-pigeon"]
    assert tune_main.main(words) == 2
    assert "--notify carrier-pigeon:... is neither a URL of Apprise" in capsys.readouterr().err
