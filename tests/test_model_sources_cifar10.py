"""CIFAR-10 from an archive like the published one, from servers on this machine that fail in every way, and `auto`."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import pickle
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import sources_cifar10
from model.data import DataError, load_test_data, load_training_data
from model.download import download_file
from model.sources_cifar10 import FOLDER_NAME, Release, download_cifar10, read_cifar10

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


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_cifar10_is_downloaded_once_and_read(tmp_path: Path) -> None:
    data_dir = tmp_path / "new" / "data"
    release, contents = make_release(tmp_path, "")
    with serve((tmp_path / "archive").read_bytes()) as url:
        release = dataclasses.replace(release, url=url)
        train = read_cifar10(data_dir, "train", image_size=None, release=release)
    test = read_cifar10(data_dir, "test", image_size=None, release=release)  # the server is gone by now
    assert sorted(path.name for path in data_dir.iterdir()) == [FOLDER_NAME]
    assert train.class_names == test.class_names == ("plane", "car")
    assert train.examples.labels.tolist() == [0, 1, 1, 0] * 2
    expected = np.concatenate([contents[name]["data"] for name in ("data_batch_1", "data_batch_2")])
    assert np.array_equal(train.examples.images.transpose(0, 3, 1, 2).reshape(8, 3072), expected)
    assert np.array_equal(test.examples.images.transpose(0, 3, 1, 2).reshape(4, 3072), contents["test_batch"]["data"])


@pytest.fixture
def cifar10_folder(tmp_path: Path) -> tuple[Path, Release]:
    release, _ = make_release(tmp_path, "")
    with tarfile.open(tmp_path / "archive") as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path, release


def test_cifar10_test_batch_is_not_unpacked_for_training(cifar10_folder: tuple[Path, Release]) -> None:
    data_dir, release = cifar10_folder
    (data_dir / FOLDER_NAME / "test_batch").write_bytes(b"garbage")
    batches = {**release.batches, "test": {"test_batch": hashlib.md5(b"garbage").hexdigest()}}
    release = dataclasses.replace(release, batches=batches)
    assert len(read_cifar10(data_dir, "train", image_size=None, release=release).examples) == 8
    with pytest.raises(pickle.UnpicklingError):
        read_cifar10(data_dir, "test", image_size=None, release=release)


def test_cifar10_training_batches_are_not_opened_for_testing(cifar10_folder: tuple[Path, Release]) -> None:
    data_dir, release = cifar10_folder
    (data_dir / FOLDER_NAME / "data_batch_2").unlink()
    assert len(read_cifar10(data_dir, "test", image_size=None, release=release).examples) == 4


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
def test_damaged_cifar10_file_is_named_before_training(cifar10_folder: tuple[Path, Release], name: str) -> None:
    data_dir, release = cifar10_folder
    path = data_dir / FOLDER_NAME / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{name} is not the published file: it is truncated or changed\. Delete"):
        read_cifar10(data_dir, "train", image_size=None, release=release)
    path.unlink()
    with pytest.raises(DataError, match=rf"{name} cannot be read \(No such file or directory\)\. Delete"):
        read_cifar10(data_dir, "train", image_size=None, release=release)


def test_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        release, _ = make_release(tmp_path, f"http://127.0.0.1:{server.getsockname()[1]}/archive")
        start = time.monotonic()
        with pytest.raises(DataError, match=r"/archive could not be downloaded \(.*\)\. Check the network, or choose"):
            download_cifar10(tmp_path / "data", release, timeout_s=0.5)
        assert time.monotonic() - start < 5
    assert not (tmp_path / "data").exists()


def test_server_that_never_ends_its_answers_head_is_given_up(tmp_path: Path) -> None:
    """Every byte restarts the socket's own time-out: only the guard around it can end this."""

    def trickle() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not is_over.wait(0.1):
                connection.sendall(b"x")

    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=trickle)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/archive"
        start = time.monotonic()
        with (
            pytest.raises(DataError, match=r"could not be downloaded \(no answer within 0\.5 s\)"),
            download_file(url, tmp_path, md5="", timeout_s=0.5),
        ):
            pass
        assert time.monotonic() - start < 5
        is_over.set()
        thread.join()


def test_server_that_trickles_is_given_up(tmp_path: Path) -> None:
    with (
        serve(b"x" * 800, pause_s=0.1) as url,
        pytest.raises(DataError, match=r"could not be downloaded \(not done after 0\.3 s\)"),
        download_file(url, tmp_path, md5="", timeout_s=5, longest_s=0.3),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_closed_port_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    release, _ = make_release(tmp_path, f"http://127.0.0.1:{port}/archive")
    with pytest.raises(DataError, match=r"could not be downloaded \(.*refused"):
        download_cifar10(tmp_path / "data", release)


@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_download_that_breaks_off_leaves_nothing(tmp_path: Path, kept: float) -> None:
    release, _ = make_release(tmp_path, "")
    content = (tmp_path / "archive").read_bytes()
    with serve(content[: int(len(content) * kept)], announced=len(content)) as url:
        release = dataclasses.replace(release, url=url)
        with pytest.raises(DataError, match=r"could not be downloaded|arrived incomplete or changed"):
            download_cifar10(tmp_path / "data", release)
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())


def test_download_into_a_file_is_refused(tmp_path: Path) -> None:
    release, _ = make_release(tmp_path, (tmp_path / "archive").as_uri())
    with pytest.raises(DataError, match=r"archive cannot take a download \(.*\)\. Make it writable"):
        download_cifar10(tmp_path / "archive", release)


def test_archive_without_its_files_is_refused(tmp_path: Path) -> None:
    release, _ = make_release(tmp_path, (tmp_path / "archive").as_uri())
    release = dataclasses.replace(release, meta={"other.meta": ""})
    with pytest.raises(DataError, match=rf"{FOLDER_NAME} could not be unpacked \(.*other\.meta.*\)"):
        download_cifar10(tmp_path / "data", release)
    assert list((tmp_path / "data").iterdir()) == []


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """CIFAR-10 published where nothing is; returns an empty data folder."""
    release, _ = make_release(tmp_path, (tmp_path / "missing").as_uri())
    monkeypatch.setattr(sources_cifar10, "official_release", lambda: release)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_auto_falls_back_to_digits_and_says_so(unreachable: Path) -> None:
    data = load_training_data("auto", image_size=None, seed=0, data_dir=unreachable)
    assert data.name == "digits"
    (warning,) = data.warnings
    assert "NOT CIFAR-10" in warning
    assert "could not be downloaded" in warning
    assert "\n" not in warning
    assert len(load_test_data("auto", image_size=None, seed=0, data_dir=unreachable)) == 1797 - len(data.examples)
    with pytest.raises(DataError, match="could not be downloaded"):
        load_training_data("cifar10", image_size=None, seed=0, data_dir=unreachable)


def test_auto_does_not_pass_over_a_damaged_copy(unreachable: Path) -> None:
    (unreachable / FOLDER_NAME).mkdir()
    with pytest.raises(DataError, match=r"test_batch cannot be read"):
        load_training_data("auto", image_size=None, seed=0, data_dir=unreachable)


def test_auto_takes_cifar10_where_it_is_on_disk(
    cifar10_folder: tuple[Path, Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir, release = cifar10_folder
    monkeypatch.setattr(sources_cifar10, "official_release", lambda: release)
    data = load_training_data("auto", image_size=16, seed=0, data_dir=data_dir)
    assert data.name == "cifar10"
    assert data.warnings == ()
    assert data.examples.images.shape == (8, 16, 16, 3)
    assert len(load_test_data("auto", image_size=16, seed=0, data_dir=data_dir)) == 4
