"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions",
    "--remote-debugging-port=0", "--remote-allow-origins=*", "--hide-scrollbars",
)  # fmt: skip
START_TIMEOUT_S = 60.0
PAGE_TIMEOUT_S = 60.0


def find_browser() -> str | None:
    """Path of an installed Chromium or Chrome; None without one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def opened_browser(profile_dir: Path) -> Iterator[Page]:
    """A browser with one empty page; it ends with the block. `profile_dir` must be empty."""
    executable = find_browser()
    assert executable is not None
    process = subprocess.Popen(
        [executable, *FLAGS, f"--user-data-dir={profile_dir}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        connection = websocket.create_connection(_page_address(profile_dir), timeout=PAGE_TIMEOUT_S)
        try:
            yield Page(connection)
        finally:
            connection.close()
    finally:
        process.terminate()
        process.wait(timeout=20)


def _page_address(profile_dir: Path) -> str:
    """The DevTools address of the page, once the browser has written it."""
    port_file = profile_dir / "DevToolsActivePort"
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, IndexError):
            port = port_file.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                pages = [target for target in json.load(answer) if target["type"] == "page"]
            return str(pages[0]["webSocketDebuggerUrl"])
        time.sleep(0.1)
    raise TimeoutError(f"the browser did not start within {START_TIMEOUT_S:.0f} s")


class Page:
    """One page, its network requests and its errors."""

    def __init__(self, connection: websocket.WebSocket) -> None:
        self._connection = connection
        self._num_calls = 0
        self._events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a DevTools command; returns its result."""
        self._num_calls += 1
        self._connection.send(json.dumps({"id": self._num_calls, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv())
            if message.get("id") == self._num_calls:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._events.append(message)

    def show(self, path: Path, *, width: int, is_dark: bool) -> None:
        """Opens a file at a width in pixels and waits until its plots are drawn."""
        self.open(path.absolute().as_uri(), width=width, is_dark=is_dark)
        self.wait_for("document.documentElement.dataset.drawn === 'true'")

    def open(self, url: str, *, width: int, is_dark: bool) -> None:
        """Opens an address at a width in pixels."""
        self._events.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'")

    def wait_for(self, expression: str, timeout_s: float = PAGE_TIMEOUT_S) -> None:
        """Waits until a JavaScript expression is true."""
        deadline = time.monotonic() + timeout_s
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, self.complaints or f"in vain: {expression}"
            time.sleep(0.1)

    def evaluate(self, expression: str, *, is_awaited: bool = False) -> Any:
        """The value of a JavaScript expression; with `is_awaited`, the value of its promise."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=is_awaited)
        return answer["result"].get("value")

    def screenshot(self, path: Path, *, full: bool = False) -> None:
        """Saves a PNG of the visible part, or of the whole page."""
        image = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(image["data"]))

    @property
    def complaints(self) -> list[str]:
        """Console errors and warnings, uncaught exceptions, and the browser's own log."""
        texts = []
        for event in self._events:
            parameters = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                texts.append(str(parameters["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
                texts.append(str(parameters["args"]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                texts.append(parameters["entry"]["text"])
        return texts

    @property
    def requests(self) -> list[str]:
        """Addresses that the page requested, without data URIs."""
        urls = [
            event["params"]["request"]["url"]
            for event in self._events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith("data:")]
