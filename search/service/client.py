"""The service from Python, with the verbs of its HTTP interface.

client = Client("http://127.0.0.1:8321")
name = client.submit(dataset="digits", num_trials=5)["name"]
run = client.wait(name)
print(run.trials[["trial_number", "last_val_accuracy"]])
"""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import requests

from search.errors import UserError
from search.service.asking import POLL_S, Patience, Unavailable, json_values, opened, part_of_address

TIMEOUT_S = 60.0
_OVER = ("finished", "cancelled", "failed", "unfinished", "unreadable")


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
        content = self._client.get(f"runs/{part_of_address(self.view['name'])}/{name}", format="parquet").content
        return pd.read_parquet(io.BytesIO(content))


class Client:
    """A service at an address. Every method raises UserError with the service's own words if it refuses."""

    def __init__(self, url: str, token: str | None = None) -> None:
        """`url`: where its pages are, such as https://host/convladder."""
        if not re.match("https?://", url):
            raise UserError(f"`url` must begin with http:// or https://; got {url!r}.")
        self._url = url.rstrip("/")
        self._session = requests.Session()
        if token is not None:
            if not re.fullmatch("[!-~]+", token := token.strip()):
                raise UserError("`token` must be the one line that `serve token add` printed.")
            self._session.headers["Authorization"] = f"Bearer {token}"

    def submit(self, *, idempotency_key: str | None = None, **settings: Any) -> dict[str, Any]:
        """Submits a run: fields of the settings, `space` as TOML text, `cores`. Returns the run, with its name."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return self._json("POST", "runs", json=json_values(settings), headers=headers)

    def runs(
        self, *, state: str | None = None, owner: str | None = None, text: str = "", page: int = 1, page_size: int = 50
    ) -> list[dict[str, Any]]:
        """The runs that match, the newest first; `text`: part of the name, `page`: from 1."""
        filters = {"state": state, "owner": owner, "text": text, "page": page, "page_size": page_size}
        found: list[dict[str, Any]] = self._json("GET", "runs", params=filters)["runs"]
        return found

    def run(self, name: str) -> dict[str, Any]:
        """A run as it is now."""
        return self._json("GET", f"runs/{part_of_address(name)}")

    def control(self, name: str, action: str | None = None, **changes: Any) -> dict[str, Any]:
        """Pause, continue, stop or cancel; `num_trials`, `time_budget_s`, `num_slots`. As `search.control`."""
        wish = {"action": action, **changes}
        asked = {key: value for key, value in wish.items() if value is not None}
        return self._json("POST", f"runs/{part_of_address(name)}/control", json=json_values(asked))

    def prioritize(self, name: str, priority: int) -> dict[str, Any]:
        """Reorders the queue."""
        return self._json("POST", f"runs/{part_of_address(name)}/priority", json=json_values({"priority": priority}))

    def delete(self, name: str) -> None:
        """Removes a run that has ended, or waits."""
        self._ask("DELETE", f"runs/{part_of_address(name)}")

    def wait(self, name: str, *, timeout_s: float | None = None) -> RemoteRun:
        """The run once it has ended. UserError if it failed; TimeoutError if it goes on after `timeout_s`.

        A service that is gone or busy meanwhile is asked again for a minute.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (view := self._run_at_last(name, deadline))["state"] not in _OVER:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{name} is {view['state']} after {timeout_s:g} s.")
            time.sleep(POLL_S)
        if view["state"] == "failed":
            raise UserError(f"{name} failed: {view['last_line']}")
        return RemoteRun(self, view)

    def _run_at_last(self, name: str, deadline: float | None) -> dict[str, Any]:
        patience = Patience()
        while True:
            try:
                return self.run(name)
            except Unavailable as failure:
                if deadline is not None and time.monotonic() > deadline:
                    raise
                patience.sleep(failure)

    def events(self, name: str) -> Iterator[dict[str, Any]]:
        """The run now and after every change, until it has ended.

        Connects again if the connection breaks. UserError if the service stays away for a minute, or the
        run is removed.
        """
        patience, last = Patience(), None
        while True:
            try:
                for view in self._events_of_a_connection(name):
                    patience.renew()
                    if view != last:
                        yield view
                    if view["state"] in _OVER:
                        return
                    last = view
            except Unavailable as failure:
                patience.sleep(failure)

    def _events_of_a_connection(self, name: str) -> Iterator[dict[str, Any]]:
        with self.get(f"runs/{part_of_address(name)}/events", stream=True) as answer:
            try:
                for line in answer.iter_lines():
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])
            except (requests.RequestException, json.JSONDecodeError):  # the latter: a line that was cut off
                pass
        raise Unavailable(f"the service at {self._url} sends no more events of {name}.")

    def file(self, name: str, file: str) -> bytes:
        """One of a run's files, such as model.safetensors."""
        return self.get(f"runs/{part_of_address(name)}/files/{part_of_address(file)}").content

    def report(self, name: str) -> str:
        """The run's page."""
        return self.get(f"runs/{part_of_address(name)}/report").content.decode("utf-8")

    def predict(self, name: str, image: str | Path) -> dict[str, float]:
        """The probability of each class for an image file."""
        with opened(image) as file:
            return self._json("POST", f"runs/{part_of_address(name)}/predict", data=file.read())

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
        with opened(archive) as file:
            return self._json("PUT", f"datasets/{part_of_address(name)}", data=file, timeout=None)

    def get(self, path: str, *, stream: bool = False, **parameters: Any) -> requests.Response:
        """The answer to a GET below /api."""
        return self._ask("GET", path, params=parameters, stream=stream)

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = self._ask(method, path, **options)
        try:
            body: dict[str, Any] = answer.json()
            return body
        except ValueError:
            raise UserError(f"{answer.url} gave no JSON; is it convladder's service?") from None

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            answer = self._session.request(method, f"{self._url}/api/{path}", **{"timeout": TIMEOUT_S, **options})
        except ValueError as error:  # those of requests that the caller must mend are ValueErrors, too
            raise UserError(f"the request to {self._url} cannot be sent: {error}") from None
        except requests.RequestException as error:
            raise Unavailable(f"the service at {self._url} does not answer ({type(error).__name__}).") from None
        if not answer.ok:
            raise self._refusal(answer)
        return answer

    def _refusal(self, answer: requests.Response) -> UserError:
        """The service's own words."""
        try:
            message = "\n".join(one["message"] for one in answer.json()["errors"])
        except (requests.RequestException, ValueError, KeyError, TypeError):
            message = f"{self._url} answered {answer.status_code}; is it convladder's service?"
        if message == "Not Found" and self._url.endswith("/api"):
            message = f"there is nothing at {answer.url}. Give the address of the service's pages, without /api."
        if answer.status_code != 429 and answer.status_code < 500:
            return UserError(message)
        asked_for = answer.headers.get("Retry-After", "")
        return Unavailable(message, float(asked_for) if asked_for.isdecimal() else POLL_S)
