"""The service from Python, with the verbs of its HTTP interface.

client = Client("http://127.0.0.1:8321")
name = client.submit(dataset="digits", num_trials=5)["name"]
run = client.wait(name)
print(run.trials[["trial_number", "last_val_accuracy"]])
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import requests

from search.errors import UserError

TIMEOUT_S = 60.0
_OVER = ("finished", "cancelled", "failed", "unfinished", "unreadable")
_POLL_S = 2.0


class RemoteRun:
    """A run of a service, with the tables of `load_run`."""

    def __init__(self, client: Client, view: dict[str, Any]) -> None:
        self._client = client
        self.view = view
        """What `Client.run` gave: name, state, metric, best_validation, test_result and so on."""

    @property
    def trials(self) -> pd.DataFrame:
        """As `Run.trials`."""
        return self._table("trials")

    @property
    def epochs(self) -> pd.DataFrame:
        """As `Run.epochs`."""
        return self._table("epochs")

    def _table(self, name: str) -> pd.DataFrame:
        content = self._client.get(f"runs/{quote(self.view['name'])}/{name}", format="parquet").content
        return pd.read_parquet(io.BytesIO(content))


class Client:
    """A service at an address. Every method raises UserError with the service's own words if it refuses."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """`url`: where its pages are, such as https://host/convladder."""
        self._url = url.rstrip("/")
        self._session = requests.Session()
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def submit(self, *, idempotency_key: str | None = None, **settings: Any) -> dict[str, Any]:
        """Submits a run: fields of the settings, `space` as TOML text, `cores`. Returns the run, with its name."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return self._json("POST", "runs", json=settings, headers=headers)

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """The runs that match `state`, `owner` and `text`, the newest first; one page of `page_size`."""
        found: list[dict[str, Any]] = self._json("GET", "runs", params=filters)["runs"]
        return found

    def run(self, name: str) -> dict[str, Any]:
        """A run as it is now."""
        return self._json("GET", f"runs/{quote(name)}")

    def control(self, name: str, action: str | None = None, **changes: Any) -> dict[str, Any]:
        """Pause, continue, stop or cancel; `num_trials`, `time_budget_s`, `num_slots`. As `search.control`."""
        wish = {"action": action, **changes}
        asked = {key: value for key, value in wish.items() if value is not None}
        return self._json("POST", f"runs/{quote(name)}/control", json=asked)

    def prioritize(self, name: str, priority: int) -> dict[str, Any]:
        """Reorders the queue."""
        return self._json("POST", f"runs/{quote(name)}/priority", json={"priority": priority})

    def delete(self, name: str) -> None:
        """Removes a run that has ended, or waits."""
        self._ask("DELETE", f"runs/{quote(name)}")

    def wait(self, name: str, *, timeout_s: float | None = None) -> RemoteRun:
        """The run once it has ended. UserError if it failed; TimeoutError if it goes on after `timeout_s`."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (view := self.run(name))["state"] not in _OVER:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{name} is {view['state']} after {timeout_s:g} s.")
            time.sleep(_POLL_S)
        if view["state"] == "failed":
            raise UserError(f"{name} failed: {view['last_line']}")
        return RemoteRun(self, view)

    def events(self, name: str) -> Iterator[dict[str, Any]]:
        """The run now and after every change, until it has ended."""
        with self.get(f"runs/{quote(name)}/events", stream=True) as answer:
            for line in answer.iter_lines():
                if line.startswith(b"data: "):
                    view: dict[str, Any] = json.loads(line[6:])
                    yield view
                    if view["state"] in _OVER:
                        return

    def file(self, name: str, file: str) -> bytes:
        """One of a run's files, such as model.safetensors."""
        return self.get(f"runs/{quote(name)}/files/{quote(file)}").content

    def report(self, name: str) -> str:
        """The run's page."""
        return self.get(f"runs/{quote(name)}/report").content.decode("utf-8")

    def predict(self, name: str, image: str | Path) -> dict[str, float]:
        """The probability of each class for an image file."""
        return self._json("POST", f"runs/{quote(name)}/predict", data=Path(image).read_bytes())

    def compare(self, names: Sequence[str]) -> dict[str, Any]:
        """Two to five runs side by side."""
        return self._json("GET", "compare", params={"runs": ",".join(names)})

    def devices(self) -> dict[str, Any]:
        """Devices, who holds them and who waits."""
        return self._json("GET", "devices")

    def datasets(self) -> list[dict[str, Any]]:
        """Data sets that runs may name."""
        found: list[dict[str, Any]] = self._ask("GET", "datasets").json()
        return found

    def upload(self, name: str, archive: str | Path) -> dict[str, Any]:
        """Uploads a zip or tar of an image folder."""
        with Path(archive).open("rb") as file:
            return self._json("PUT", f"datasets/{quote(name)}", data=file, timeout=None)

    def get(self, path: str, *, stream: bool = False, **parameters: Any) -> requests.Response:
        """The answer to a GET below /api."""
        return self._ask("GET", path, params=parameters, stream=stream)

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        body: dict[str, Any] = self._ask(method, path, **options).json()
        return body

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            answer = self._session.request(method, f"{self._url}/api/{path}", **{"timeout": TIMEOUT_S, **options})
        except requests.RequestException as error:
            raise UserError(f"the service at {self._url} does not answer ({type(error).__name__}).") from None
        if answer.ok:
            return answer
        try:
            raise UserError("\n".join(one["message"] for one in answer.json()["errors"]))
        except (ValueError, KeyError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{self._url} answered {answer.status_code}; is it convladder's service?") from None
