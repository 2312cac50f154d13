"""Takes the screenshots in docs/pictures from a run, in a headless browser. Needs the extras [dev,dashboard].

python tests/pictures.py results/NAME           the report, wide and light, narrow and dark
python tests/pictures.py results/NAME --dashboard    optuna-dashboard on the run's record
"""

from __future__ import annotations

import argparse
import contextlib
import io
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from browser import Page, opened_browser
from PIL import Image

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
NUM_COLOURS = 128
"""Enough for text and lines; full colour makes the files three times as large."""
DASHBOARD_HEIGHT = 2300
"""Pixels, from the optimization history to the learning curves."""
START_TIMEOUT_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Takes the screenshots in docs/pictures from a run.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--dashboard", action="store_true", help="of optuna-dashboard instead of the report")
    parser.add_argument("--out", type=Path, default=PICTURES)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, opened_browser(Path(profile)) as page:
        if options.dashboard:
            take_dashboard(page, options.run_dir, options.out)
        else:
            take_report(page, options.run_dir, options.out)


def take_report(page: Page, run_dir: Path, folder: Path) -> None:
    """The first screen of the report, wide and light, narrow and dark."""
    for name, width, height, is_dark in (("report_wide", 1280, 1500, False), ("report_narrow", 390, 844, True)):
        page.show(run_dir / "report.html", width=width, is_dark=is_dark)
        keep(page, folder / f"{name}.png", width=width, height=height)


def take_dashboard(page: Page, run_dir: Path, folder: Path) -> None:
    """Optuna's dashboard: best score, importances, timeline and learning curves."""
    with dashboard(run_dir / "study.db") as address:
        show(page, f"{address}/dashboard/studies/1", "Intermediate values")
        keep(page, folder / "optuna_dashboard.png", width=1280, height=DASHBOARD_HEIGHT)


@contextlib.contextmanager
def dashboard(database: Path) -> Iterator[str]:
    """optuna-dashboard on a record, on a free port; yields its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "optuna-dashboard"
    process = subprocess.Popen(
        [program, f"sqlite:///{database.absolute()}", "--port", str(port), "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            assert time.monotonic() < deadline, "optuna-dashboard did not start in time"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()  # it writes nothing, and a clean end may take long
        process.wait()


def show(page: Page, address: str, text: str) -> None:
    """Opens an address and waits until a text is on the page and the plots are drawn."""
    page.call(
        "Emulation.setDeviceMetricsOverride", width=1280, height=DASHBOARD_HEIGHT, deviceScaleFactor=1, mobile=False
    )
    page.call("Page.navigate", url=address)
    deadline = time.monotonic() + START_TIMEOUT_S
    while text not in (page.evaluate("document.body ? document.body.innerText : ''") or ""):
        assert time.monotonic() < deadline, page.evaluate("document.body.innerText") or page.complaints
        time.sleep(0.5)
    time.sleep(5)


def keep(page: Page, path: Path, *, width: int, height: int) -> None:
    """Saves the page's first `height` pixels as a PNG with few colours."""
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
    time.sleep(1)
    page.screenshot(path)
    picture = Image.open(io.BytesIO(path.read_bytes())).convert("RGB").quantize(NUM_COLOURS)
    picture.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
