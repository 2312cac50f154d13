"""A small archive like CIFAR-10's published one, and a web server on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from model.sources_cifar10 import FOLDER_NAME, Release

RANDOM = np.random.default_rng(0)


def make_release(folder: Path, url: str) -> tuple[Release, dict[str, dict[str, Any]]]:
    """Write an archive like the published one to `folder`/archive and describe it; also what its batches hold."""
    contents: dict[str, dict[str, Any]] = {"batches.meta": {"label_names": ["plane", "car"]}}
    for name in ("data_batch_1", "data_batch_2", "test_batch"):
        contents[name] = {"data": RANDOM.integers(0, 256, (4, 3072), dtype=np.uint8), "labels": [0, 1, 1, 0]}
    md5: dict[str, str] = {}
    with tarfile.open(folder / "archive", "w:gz") as tar:
        for name, content in contents.items():
            data = pickle.dumps(content)
            md5[name] = hashlib.md5(data).hexdigest()
            member = tarfile.TarInfo(f"{FOLDER_NAME}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    release = Release(
        url=url,
        md5=hashlib.md5((folder / "archive").read_bytes()).hexdigest(),
        batches={
            "train": {name: md5[name] for name in ("data_batch_1", "data_batch_2")},
            "test": {"test_batch": md5["test_batch"]},
        },
        meta={"batches.meta": md5["batches.meta"]},
    )
    return release, contents


@contextlib.contextmanager
def serve(content: bytes, *, pause_s: float = 0.0, announced: int | None = None) -> Iterator[str]:
    """A web server on this machine; it pauses before every eighth of the content."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(announced or len(content)))
            self.end_headers()
            step = max(len(content) // 8, 1)
            for start in range(0, len(content), step):
                time.sleep(pause_s)
                try:
                    self.wfile.write(content[start : start + step])
                except OSError:  # the client has given up
                    return

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/archive"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
