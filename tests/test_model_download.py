"""Downloads from servers that do not answer, break off, trickle or send the wrong file."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from pathlib import Path

import pytest
from cifar10_release import make_release, serve

from model.data import DataError
from model.download import download_file
from model.sources_cifar10 import FOLDER_NAME, download_cifar10


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        release, _ = make_release(tmp_path, f"http://127.0.0.1:{server.getsockname()[1]}/archive")
        start = time.monotonic()
        with pytest.raises(DataError, match=r"could not download .*/archive \(.*\)\. Check the network"):
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
            pytest.raises(DataError, match=r"could not download .* \(no answer within 0\.5 s\)"),
            download_file(url, tmp_path, md5="", timeout_s=0.5),
        ):
            pass
        assert time.monotonic() - start < 5
        is_over.set()
        thread.join()


def test_server_that_trickles_is_given_up(tmp_path: Path) -> None:
    with (
        serve(b"x" * 800, pause_s=0.1) as url,
        pytest.raises(DataError, match=r"could not download .* \(not finished after 0\.3 s\)"),
        download_file(url, tmp_path, md5="", timeout_s=5, longest_s=0.3),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_closed_port_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    release, _ = make_release(tmp_path, f"http://127.0.0.1:{port}/archive")
    with pytest.raises(DataError, match=r"could not download .* \(.*refused"):
        download_cifar10(tmp_path / "data", release)


@pytest.mark.parametrize("kept", [0.5, 0.0])
def test_download_that_breaks_off_leaves_nothing(tmp_path: Path, kept: float) -> None:
    release, _ = make_release(tmp_path, "")
    content = (tmp_path / "archive").read_bytes()
    with serve(content[: int(len(content) * kept)], announced=len(content)) as url:
        release = dataclasses.replace(release, url=url)
        with pytest.raises(DataError, match=r"could not download|is incomplete or changed"):
            download_cifar10(tmp_path / "data", release)
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())


def test_download_into_a_file_is_refused(tmp_path: Path) -> None:
    release, _ = make_release(tmp_path, (tmp_path / "archive").as_uri())
    with pytest.raises(DataError, match=r"cannot download into .*archive \(.*\)\. Make it writable"):
        download_cifar10(tmp_path / "archive", release)


def test_archive_without_its_files_is_refused(tmp_path: Path) -> None:
    release, _ = make_release(tmp_path, (tmp_path / "archive").as_uri())
    release = dataclasses.replace(release, meta={"other.meta": ""})
    with pytest.raises(DataError, match=rf"could not unpack .*{FOLDER_NAME} \(.*other\.meta.*\)"):
        download_cifar10(tmp_path / "data", release)
    assert list((tmp_path / "data").iterdir()) == []
