"""Trials that hang or die, runs that meet, images that change, clusters that are none of ours: real processes."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faults import PATIENCE_S, new_run, num_epochs, num_trials, started, wait_until
from image_files import encode_png, random_image

from search import load_run

pytestmark = pytest.mark.faults


def test_a_trial_that_hangs_fails_alone(tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    timeout_s = 60
    with started(tmp_path, *new_run(tmp_path, "--trials", 2, "--trial-timeout", f"{timeout_s}s")) as run:
        wait_until(lambda: num_epochs(run_dir) >= 1)
        worker = run.pid_of("worker")
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)
        code, output = run.wait()
        assert code == 0, output
        run.assert_nothing_is_left()
    trials = load_run(run_dir).trials
    failed = trials[trials.status == "failed"]
    assert len(failed) == 1
    assert failed.error.item() == f"killed because no epoch ended within {timeout_s} s (--trial-timeout)"
    assert (trials.status != "failed").sum() == 1


def test_a_worker_that_always_dies_fails_its_trial_alone(tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    killed: set[int] = set()
    with started(tmp_path, *new_run(tmp_path, "--trials", 2, "--max-failures", 1, "--epochs", 40)) as run:
        while run.process.poll() is None and len(killed) < 2:
            worker = run.pid_of("worker")
            if worker is not None and worker not in killed:
                # As the kernel does when memory runs out.
                os.kill(worker, signal.SIGKILL)
                killed.add(worker)
            time.sleep(0.05)
        wait_until(lambda: num_trials(run_dir) >= 2)
        code, output = run.wait()
        assert code == 0, output
    trials = load_run(run_dir).trials
    assert len(killed) == 2
    assert list(trials.status) == ["failed", "completed"]
    assert "the worker process died" in trials.error[0]


def test_two_runs_at_once_and_a_lock_that_frees_itself(tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    arguments = new_run(tmp_path, "--trials", 2)
    with started(tmp_path, *arguments) as first:
        wait_until(lambda: num_epochs(run_dir) >= 1)
        for second_arguments, message in (
            (arguments, "results/tiny exists already. Give another --name, or resume it: --resume results/tiny."),
            (["--resume", "results/tiny"], f"is in use by process {first.process.pid} on {os.uname().nodename}. Wait"),
        ):
            with started(tmp_path, *second_arguments) as second:
                code, output = second.wait()
            assert code == 2, output
            assert message in output
        assert first.process.poll() is None, "it was disturbed"
        first.process.kill()
        first.process.wait()
        # Its workers may still be dying; the lock went with the process that held it.
        with started(tmp_path, "--resume", "results/tiny") as second:
            code, output = second.wait()
            assert code == 0, output
    assert set(load_run(run_dir).trials.status) <= {"completed", "stopped", "rejected"}


def test_images_that_changed_since_the_run_began_are_named(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for name in ("cat", "dog"):
        (images / name).mkdir(parents=True)
        for index in range(60):
            (images / name / f"{index:02}.png").write_bytes(encode_png(random_image(16)))
    run_dir = tmp_path / "results" / "tiny"
    with started(tmp_path, *new_run(tmp_path, "--dataset", "images", "--trials", 2, "--epochs", 2)) as run:
        wait_until(lambda: num_epochs(run_dir) >= 1)
        run.process.kill()
        run.process.wait()
    shutil.copytree(images, tmp_path / "as they were")
    for change, message in (
        (
            lambda: (images / "cat" / "07.png").write_bytes(encode_png(random_image(16))),
            "the data set (sha256",
        ),
        (
            lambda: (images / "cat" / "07.png").rename(images / "dog" / "99.png"),
            "the data set (sha256",
        ),
        (lambda: os.truncate(images / "dog" / "11.png", 300), "11.png"),
        (lambda: os.truncate(images / "dog" / "11.png", 0), "11.png"),
        (lambda: shutil.rmtree(images / "dog"), "has only one class"),
    ):
        change()
        with started(tmp_path, "--resume", "results/tiny") as run:
            code, output = run.wait()
        assert code == 2, output
        assert message in output
        assert "Traceback" not in output
        shutil.rmtree(images)
        shutil.copytree(tmp_path / "as they were", images)
    with started(tmp_path, "--resume", "results/tiny") as run:
        code, output = run.wait()
    assert code == 0, output


def test_a_cluster_that_ray_address_names_is_never_joined(tmp_path: Path) -> None:
    run_dir = tmp_path / "results" / "tiny"
    home = tmp_path / "home"
    home.mkdir()
    too_long = tmp_path / ("x" * 80)
    too_long.mkdir()
    environment = {"RAY_ADDRESS": "192.0.2.77:6379", "HOME": str(home), "TMPDIR": str(too_long)}
    with started(tmp_path, *new_run(tmp_path, "--trials", 1, "--epochs", 60), environment=environment) as run:
        wait_until(lambda: num_epochs(run_dir) >= 1 or run.process.poll() is not None)
        raylet = run.pid_of("raylet")
        assert raylet is not None
        line = Path(f"/proc/{raylet}/cmdline").read_bytes().split(b"\0")
        (temp,) = [Path(part.decode().partition("=")[2]) for part in line if part.startswith(b"--temp_dir=")]
        assert stat.S_IMODE(temp.parent.stat().st_mode) == 0o700, "others can reach Ray's sockets and logs"
        (address,) = [part.decode().partition("=")[2] for part in line if part.startswith(b"--gcs-address=")]
        token = environment_of(raylet)["RAY_AUTH_TOKEN"]
        assert num_nodes(address, token) == "1"
        assert num_nodes(address, token[::-1]) == "", "a stranger was let in"
        dashboards = [words for words in run.family().values() if "/dashboard/dashboard.py " in words]
        assert all(" --disable-frontend" in words for words in dashboards), "Ray's dashboard is on"
        worker = run.pid_of("worker")
        assert worker is not None
        assert oom_score(worker) > oom_score(run.process.pid), "out of memory, the kernel would kill the search first"
        code, output = run.wait()
        assert code == 0, output
    assert not temp.parent.exists()
    token_file = home / ".ray" / "auth_token"
    assert not token_file.exists() or stat.S_IMODE(token_file.stat().st_mode) & 0o077 == 0


def environment_of(pid: int) -> dict[str, str]:
    """What a process was started with."""
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def num_nodes(address: str, token: str) -> str:
    """What a cluster says of its size to somebody with that token; nothing if it does not answer."""
    script = (
        "import sys; from ray._raylet import GcsClient; print(len(GcsClient(address=sys.argv[1]).get_all_node_info()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, address],
        env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.stdout.strip()


def oom_score(pid: int) -> int:
    """How soon the kernel kills a process when memory runs out."""
    return int(Path(f"/proc/{pid}/oom_score").read_text())
