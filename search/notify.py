"""Word to people when a run ends, is cut off or finds a better config: through Apprise, or as a signed webhook."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import Any, Literal

import psutil

from search.errors import RunInterrupted
from search.settings import SearchSettings
from search.study.record import TrialRecord, TrialStatus
from search.text import percent

PATIENCE_S = 30.0
"""Seconds that the end of a run waits for its words to arrive."""
_SECRET = "CONVLADDER_WEBHOOK_SECRET"
_TIMEOUT_S = 10.0
_NUM_ATTEMPTS = 2
NOTIFY = "CONVLADDER_NOTIFY"
"""The environment variable that stands for --notify."""
OWNER, ASKED_BY, LINK = "CONVLADDER_OWNER", "CONVLADDER_ASKED_BY", "CONVLADDER_LINK"
"""Environment variables that name a run's owner and page; the service sets them for its runs."""
Event = Literal["ended", "cut_off", "new_best", "failed", "queue_empty"]


@dataclass(frozen=True)
class About:
    """The run that word is of."""

    run: str
    owner: str
    link: str


Send = Callable[[str, str, Mapping[str, Any]], None]
"""Sends (title, text, facts) and raises if it does not arrive."""


def notify_url(settings: SearchSettings) -> str | None:
    """Where word of a run goes; None if nobody asked for it."""
    return settings.notify or os.environ.get(NOTIFY) or None


def make_sender(url: str) -> Send:
    """What sends word to a URL of Apprise or, as a signed webhook, to any other http or https address.

    ValueError for a URL that is neither, and for a webhook without a secret to sign with. No message quotes the URL,
    which may hold a password.
    """
    import apprise

    service = apprise.Apprise.instantiate(url)
    if service is not None:
        return lambda title, text, _facts: _check(service.notify(body=text, title=title))
    if not url.startswith(("http://", "https://")):
        raise ValueError(
            "is neither a URL of Apprise, such as ntfy://TOPIC, nor http:// or https://. See docs/steering.md"
        )
    secret = os.environ.get(_SECRET)
    if not secret:
        raise ValueError(f"is a webhook, and its messages are signed: set {_SECRET} to a secret that its receiver has")
    return lambda _title, _text, facts: _post(url, facts, secret)


class Messenger:
    """Sends word in a separate thread. A failure is one warning and disturbs nothing."""

    def __init__(self, url: str | None, warn: Callable[[str], None]) -> None:
        """`url` None sends nothing. ValueError as for `make_sender`."""
        self._send = None if url is None else make_sender(url)
        self._warn = warn
        self._pool = ThreadPoolExecutor(1, "notify")
        self._sent: list[Future[None]] = []
        self._has_failed = False

    def tell(self, event: Event, about: About, words: str, accuracy: float | None = None, interval: Any = None) -> None:
        """Queues word of an event. `accuracy`: a fraction; `interval`: its 95 % interval."""
        if self._send is None:
            return
        facts = {
            "event": event, **asdict(about), "words": words, "accuracy": accuracy,
            "interval": interval and list(interval), "at": time.time(),
        }  # fmt: skip
        title = f"{about.run}: {event.replace('_', ' ')}"
        self._sent = [one for one in self._sent if not one.done()]
        self._sent.append(self._pool.submit(self._try, title, words, facts))

    def close(self) -> None:
        """Waits until all has been sent, at most `PATIENCE_S`."""
        wait(self._sent, PATIENCE_S)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _try(self, title: str, words: str, facts: Mapping[str, Any]) -> None:
        assert self._send is not None
        text = f"{words}\nrun {facts['run']} of {facts['owner']}\n{facts['link']}"
        for attempt in range(1, _NUM_ATTEMPTS + 1):
            try:
                self._send(title, text, facts)
                return
            except Exception as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                if attempt == _NUM_ATTEMPTS and not self._has_failed:
                    self._has_failed = True
                    self._warn(f"--notify: no word arrived, it goes on without: {reason}")


class Notifier:
    """Tells of one run."""

    def __init__(self, settings: SearchSettings, warn: Callable[[str], None]) -> None:
        self._messenger = Messenger(notify_url(settings), warn)
        self._about = About(
            run=settings.run_name,
            owner=os.environ.get(OWNER) or psutil.Process().username(),
            link=os.environ.get(LINK) or (settings.run_dir / "report.html").absolute().as_uri(),
        )
        self._best: float | None = None
        self._found: tuple[float | None, Any] = (None, None)

    def tell(self, event: Event, words: str, accuracy: float | None = None, interval: Any = None) -> None:
        """Queues word of an event; without an accuracy, with the best so far. See `Messenger.tell`."""
        found = self._found if accuracy is None else (accuracy, interval)
        self._messenger.tell(event, self._about, words, *found)

    def trial_ended(self, record: TrialRecord, num_val: int) -> None:
        """Tells of a full-length trial that is better than all before. `num_val`: validation images."""
        if self.remember(record, num_val):
            accuracy, interval = self._found
            assert accuracy is not None
            words = f"trial {record.number} is the best so far: validation accuracy {_accuracy(accuracy, *interval)}"
            self.tell("new_best", words)

    def remember(self, record: TrialRecord, num_val: int) -> bool:
        """Takes a trial into account, as one of an earlier process; returns whether it is better than all before."""
        score, accuracy = record.last_score, record.last_accuracy
        if record.status is not TrialStatus.COMPLETED or score is None or accuracy is None:
            return False
        if self._best is not None and score <= self._best:
            return False
        from search.estimates import proportion_interval  # takes seconds, which bad options should not wait for

        self._best, self._found = score, (accuracy, proportion_interval(round(accuracy * num_val), num_val))
        return True

    def close(self) -> None:
        """Waits until all has been sent."""
        self._messenger.close()


@contextlib.contextmanager
def notifying(settings: SearchSettings, warn: Callable[[str], None]) -> Iterator[Notifier]:
    """Tells of an exception that ends the block, and waits at its end for what is being sent."""
    notifier = Notifier(settings, warn)
    try:
        yield notifier
    except BaseException as error:
        is_asked = isinstance(error, RunInterrupted)
        notifier.tell("cut_off", "it was asked to stop" if is_asked else " ".join(str(error).split())[:300])
        raise
    finally:
        notifier.close()


def _accuracy(accuracy: float, low: float, high: float) -> str:
    return f"{percent(accuracy)} ({100 * low:.2f} to {100 * high:.2f})"


def _check(has_arrived: Any) -> None:
    if not has_arrived:
        raise OSError("the service did not take it")


def _post(url: str, facts: Mapping[str, Any], secret: str) -> None:
    """Signs as standardwebhooks.com describes it."""
    body, number, now = json.dumps(facts).encode(), f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signature = hmac.new(key, f"{number}.{now}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": number,
        "webhook-timestamp": now,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=_TIMEOUT_S):
        pass
