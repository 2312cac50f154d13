"""Word of a run: who gets it, what it says, and that it disturbs nothing."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_analysis_metric import run_of
from webhooks import Received, webhook_receiver

import tune_main
from search import SearchSettings
from search.errors import RunFailed
from search.notify import notifying
from search.run import tell_end
from search.setup.extras import notify_problems
from search.study.record import NewTrial, TrialStatus
from search.study.study import RunStudy

pytest.importorskip("apprise", reason="the extra [notify] is not installed")
SECRET = "whsec_" + base64.b64encode(b"a secret of the lab").decode()


@pytest.fixture
def receiver() -> Iterator[tuple[str, Received]]:
    with webhook_receiver() as both:
        yield both


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVLADDER_WEBHOOK_SECRET", SECRET)
    monkeypatch.delenv("CONVLADDER_NOTIFY", raising=False)


def settings_for(url: str | None, folder: Path = Path("results")) -> SearchSettings:
    return SearchSettings(run_name="mine", results_dir=folder, notify=url)


def test_a_webhook_says_what_happened_and_is_signed(receiver: tuple[str, Received], tmp_path: Path) -> None:
    address, received = receiver
    with notifying(settings_for(f"{address}/hook", tmp_path), pytest.fail) as notifier:
        notifier.tell("ended", "test accuracy 91.00 %", 0.91, (0.9, 0.92))
    [(headers, body)] = received
    facts = json.loads(body)
    assert facts.pop("at") > 1.7e9
    assert facts.pop("owner")
    assert facts == {
        "event": "ended", "run": "mine", "words": "test accuracy 91.00 %", "accuracy": 0.91, "interval": [0.9, 0.92],
        "link": (tmp_path / "mine" / "report.html").as_uri(),
    }  # fmt: skip
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(b"a secret of the lab", signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"


def test_the_service_says_whose_a_run_is_and_where_its_page(
    receiver: tuple[str, Received], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVLADDER_OWNER", "ada")
    monkeypatch.setenv("CONVLADDER_LINK", "https://lab.example/runs/mine")
    with notifying(settings_for(receiver[0]), pytest.fail) as notifier:
        notifier.tell("ended", "a")
    facts = json.loads(receiver[1][0][1])
    assert (facts["owner"], facts["link"]) == ("ada", "https://lab.example/runs/mine")


def test_apprise_gets_title_and_text(receiver: tuple[str, Received]) -> None:
    address, received = receiver
    with notifying(settings_for(address.replace("http:", "json:")), pytest.fail) as notifier:
        notifier.tell("ended", "test accuracy 91.00 %")
    message = json.loads(received[0][1])
    assert message["title"] == "mine: ended"
    assert message["message"].startswith("test accuracy 91.00 %\nrun mine of ")


def test_each_full_length_trial_that_is_better_is_told_with_its_interval(receiver: tuple[str, Received]) -> None:
    address, received = receiver
    study = RunStudy.in_memory()
    with notifying(settings_for(address), pytest.fail) as notifier:
        for score, status in ((0.5, "completed"), (0.9, "stopped"), (0.4, "completed"), (0.75, "completed")):
            number = study.add_trial(NewTrial(config={}, seed=0))
            study.record_epoch(number, epoch=9, score=score, metrics={"val_accuracy": score})
            study.finish(number, TrialStatus(status), value=score)
            notifier.trial_ended(study.trial(number), 100)
    told = [json.loads(body) for _headers, body in received]
    assert [(one["event"], one["accuracy"]) for one in told] == [("new_best", 0.5), ("new_best", 0.75)]
    low, high = told[0]["interval"]
    # Wilson's interval of 50 in 100, by its formula.
    assert (low, high) == pytest.approx((0.40383, 0.59617), abs=1e-4)


def test_a_resumed_run_knows_the_best_of_before(receiver: tuple[str, Received]) -> None:
    study = RunStudy.in_memory()
    for score in (0.9, 0.8, 0.95):
        number = study.add_trial(NewTrial(config={}, seed=0))
        study.record_epoch(number, epoch=9, score=score, metrics={"val_accuracy": score})
        study.finish(number, TrialStatus.COMPLETED, value=score)
    with contextlib.suppress(RunFailed), notifying(settings_for(receiver[0]), pytest.fail) as notifier:
        notifier.remember(study.trial(0), 100)
        notifier.trial_ended(study.trial(1), 100)
        notifier.trial_ended(study.trial(2), 100)
        raise RunFailed("the disk is full")
    told = [json.loads(body) for _headers, body in receiver[1]]
    assert [(one["event"], one["accuracy"]) for one in told] == [("new_best", 0.95), ("cut_off", 0.95)]


def test_a_better_trial_is_told_whatever_the_metric_and_with_what_cuts_the_run_off(
    receiver: tuple[str, Received],
) -> None:
    study = RunStudy.in_memory()
    number = study.add_trial(NewTrial(config={}, seed=0))
    study.record_epoch(number, epoch=9, score=-0.7, metrics={"val_accuracy": 0.5})  # of a log loss
    study.finish(number, TrialStatus.COMPLETED, value=-0.7)
    with contextlib.suppress(RunFailed), notifying(settings_for(receiver[0]), pytest.fail) as notifier:
        notifier.trial_ended(study.trial(number), 100)
        raise RunFailed("the disk is full")
    told = [json.loads(body) for _headers, body in receiver[1]]
    assert [(one["event"], one["accuracy"]) for one in told] == [("new_best", 0.5), ("cut_off", 0.5)]
    assert told[0]["interval"] == told[1]["interval"]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_end_is_told_in_the_runs_metric_with_the_accuracy(
    receiver: tuple[str, Received], tmp_path: Path, metric: str
) -> None:
    winner = run_of(tmp_path / "run", metric).result.winner
    assert winner is not None
    assert winner.accuracy is not None
    with notifying(settings_for(receiver[0]), pytest.fail) as notifier:
        tell_end(notifier, winner)
    facts = json.loads(receiver[1][0][1])
    percent = f"{100 * winner.accuracy:.2f} %"
    loss = f"test log loss {-winner.test.mean:.4f} (accuracy {percent})"
    assert facts["words"] == (f"test accuracy {percent}" if metric == "accuracy" else loss)
    assert facts["accuracy"] == winner.accuracy
    assert (facts["interval"] is None) == (metric != "accuracy")


def test_what_ends_a_run_early_is_told(receiver: tuple[str, Received]) -> None:
    with pytest.raises(RunFailed), notifying(settings_for(receiver[0]), pytest.fail):
        raise RunFailed("the disk\nis full")
    facts = json.loads(receiver[1][0][1])
    assert (facts["event"], facts["words"]) == ("cut_off", "the disk is full")


def test_a_receiver_that_fails_is_one_warning(receiver: tuple[str, Received]) -> None:
    warnings: list[str] = []
    with notifying(settings_for(f"{receiver[0]}/broken"), warnings.append) as notifier:
        notifier.tell("new_best", "a")
        notifier.tell("ended", "b")
    assert len(receiver[1]) == 4, "each is tried twice"
    [warning] = warnings
    assert "it goes on without: HTTP Error 500" in warning


def test_nobody_is_told_unless_someone_asked(monkeypatch: pytest.MonkeyPatch, receiver: tuple[str, Received]) -> None:
    with notifying(settings_for(None), pytest.fail) as notifier:
        notifier.tell("ended", "a")
    assert receiver[1] == []
    monkeypatch.setenv("CONVLADDER_NOTIFY", receiver[0])
    with notifying(settings_for(None), pytest.fail) as notifier:
        notifier.tell("ended", "a")
    assert len(receiver[1]) == 1


@pytest.mark.parametrize("url", ["https://example.org/hook", "nosuch://user:password@host"])
def test_a_url_that_cannot_work_is_refused_without_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONVLADDER_WEBHOOK_SECRET")
    [problem] = notify_problems(settings_for(url))
    assert problem.startswith(f"--notify {url.partition(':')[0]}:... ")
    assert "password" not in problem
    assert ("CONVLADDER_WEBHOOK_SECRET" if "https" in url else "URL of Apprise") in problem
    assert notify_problems(settings_for("ntfy://topic")) == []


def test_run_toml_and_the_command_keep_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    from search.setup.preparation import _command

    settings = settings_for("ntfy://user:password@host/topic")
    monkeypatch.setattr("sys.argv", ["tune_main.py", "--notify=ntfy://user:password@host/topic", "--trials", "3"])
    assert "notify" not in settings.model_dump()
    assert _command(settings) == "python tune_main.py --notify=... --trials 3"
    assert settings.changed(num_trials=3).notify == settings.notify


def test_a_bad_url_ends_with_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert tune_main.main(["--notify", "carrier-pigeon", "--results-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(
        "tune_main.py: error: --notify carrier-pigeon:... is neither a URL of Apprise"
    )
