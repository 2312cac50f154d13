"""Clients that try what they may not: nothing leaks, nothing falls, and the others are served meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import NamedTuple

import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

import requests
from fabricated_run import CLASS_NAMES
from served import finished_run, hold_all_cores, served, wait_until

from search.errors import UserError
from search.service import Client, guard
from search.service.context import Service
from search.service.guard import MAX_BODY_BYTES, RATE

EVIL = "<script>alert(1)</script>"


class Lab(NamedTuple):
    """A service with tokens, and a client for each holder."""

    url: str
    service: Service
    tokens: dict[str, str]

    def client(self, name: str) -> Client:
        return Client(self.url, self.tokens[name])

    def ask(self, name: str, method: str, path: str, **options: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.tokens[name]}", **options.pop("headers", {})}  # type: ignore[dict-item]
        return requests.request(method, self.url + path, headers=headers, timeout=30, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "results").mkdir()
    finished_run(folder / "results" / "done", num_trials=3)
    (folder / "secret.txt").write_text("secret")
    (folder / "results" / "done" / "summary.md").symlink_to(folder / "secret.txt")
    with pytest.MonkeyPatch.context() as patch, served(folder, needs_tokens=True) as (url, service):
        patch.setattr(guard, "FAILED_COST", 1.0)
        hold_all_cores(service)
        roles = {"ada": "member", "bob": "member", "eve": "viewer", "root": "admin"}
        tokens = {name: service.access.add_token(name, role) for name, role in roles.items()}
        wait_until(lambda: service.supervisor.summaries.of)
        yield Lab(url, service, tokens)


@pytest.mark.parametrize("path", ["/api/runs", "/api/runs/done", "/metrics", "/api/openapi.json", "/api/events"])
def test_nobody_reads_without_a_token(lab: Lab, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic xyz"}, {"Cookie": "convladder=x"}):
        answer = requests.get(lab.url + path, headers=headers, timeout=20)
        assert answer.status_code == 401
        assert "done" not in answer.text
    page = requests.get(lab.url, timeout=20, allow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (303, "/login")


def test_a_token_in_the_address_is_not_taken(lab: Lab) -> None:
    assert requests.get(f"{lab.url}/api/runs?token={lab.tokens['root']}", timeout=20).status_code == 401


def test_a_viewer_changes_nothing(lab: Lab) -> None:
    eve = lab.client("eve")
    for change in (
        lambda: eve.submit(run_name="x"),
        lambda: eve.control("done", "continue"),
        lambda: eve.delete("done"),
        lambda: eve.prioritize("done", 1),
    ):
        with pytest.raises(UserError, match="viewer may only look"):
            change()
    assert lab.ask("eve", "PUT", "/api/datasets/x", data=b"").status_code == 403
    assert eve.run("done")["state"] == "finished"


def test_members_leave_the_runs_of_others_alone(lab: Lab) -> None:
    ada, bob = lab.client("ada"), lab.client("bob")
    ada.submit(run_name="adas")
    for change in (lambda: bob.control("adas", "cancel"), lambda: bob.delete("adas"), lambda: bob.delete("done")):
        with pytest.raises(UserError, match="Only the owner or an admin"):
            change()
    with pytest.raises(UserError, match="only an admin may reorder"):
        bob.prioritize("adas", -5)
    with pytest.raises(UserError, match="priority above 0"):
        bob.submit(run_name="bobs", priority=1)
    assert lab.client("root").control("adas", "cancel")["state"] == "cancelled"
    ada.delete("adas")


@pytest.mark.parametrize(
    "path",
    [
        "/api/runs/..%2f..%2fsecret.txt/files/space.toml",
        "/api/runs/done/files/..%2f..%2f..%2fsecret.txt",
        "/api/runs/done/files/%2fetc%2fpasswd",
        "/api/runs/done/files/run.toml",
        "/api/runs/done/files/summary.md",  # a link out of the folder
        "/api/runs/.service/files/service.db",
        "/api/runs/../log",
        "/api/runs/.service%2fbusy/log",
        "/static/..%2f..%2fapp.py",
        "/static/app.py",
    ],
)
def test_no_path_leaves_a_run(lab: Lab, path: str) -> None:
    answer = lab.ask("root", "GET", path)
    assert answer.status_code in (404, 422)
    assert "secret" not in answer.text.replace("secret.txt", "")


@pytest.mark.parametrize("name", ["../x", "/tmp/x", ".service", "a/b", "", "x" * 81, EVIL, "a\nb", "a\0b"])
def test_no_name_leaves_the_results_folder(lab: Lab, name: str) -> None:
    answer = lab.ask("root", "POST", "/api/runs", json={"run_name": name})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/json"


def test_names_of_classes_and_wishes_are_escaped_on_pages(lab: Lab) -> None:
    page = lab.ask("root", "GET", f"/?text={EVIL}&owner=%22{EVIL}").text
    assert EVIL not in page
    assert EVIL not in lab.ask("root", "GET", f"/runs/done?error={EVIL}").text
    form = lab.ask("root", "POST", "/submit", data={"run_name": EVIL, "space": f"</textarea>{EVIL}"})
    assert (form.status_code, EVIL in form.text) == (422, False)
    report = lab.ask("eve", "GET", "/api/runs/done/report")
    assert CLASS_NAMES[2] not in report.text
    assert "sandbox" in report.headers["content-security-policy"]


def test_pages_load_nothing_from_elsewhere_and_cannot_be_framed(lab: Lab) -> None:
    answer = lab.ask("eve", "GET", "/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'self'" in policy
    assert "://" not in answer.text


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_other_sites_change_nothing(lab: Lab, headers: dict[str, str]) -> None:
    for path in ("/runs/done/delete", "/runs/done/control", "/logout", "/login"):
        assert lab.ask("root", "POST", path, headers=headers).status_code == 403
    assert lab.ask("root", "DELETE", "/api/runs/done", headers=headers).status_code == 403
    assert lab.client("root").run("done")["state"] == "finished"


def test_a_login_is_a_cookie_that_scripts_and_other_sites_do_not_get(lab: Lab) -> None:
    session = requests.Session()
    wrong = session.post(f"{lab.url}/login", data={"token": "wrong"}, timeout=20)
    assert (wrong.status_code, wrong.headers.get("set-cookie")) == (403, None)
    answer = session.post(f"{lab.url}/login", data={"token": lab.tokens["ada"]}, timeout=20, allow_redirects=False)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert lab.tokens["ada"] not in cookie
    assert "ada (member)" in session.get(lab.url, timeout=20).text
    session.post(f"{lab.url}/logout", timeout=20)
    assert "Log in" in session.get(lab.url, timeout=20).text


def test_bodies_that_are_too_long_are_not_read(lab: Lab) -> None:
    host, port = lab.url.removeprefix("http://").split(":")
    head = (
        f"POST /api/runs HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {lab.tokens['ada']}\r\n"
        "Content-Type: application/json\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}Content-Length: {10 * 2**30}\r\n\r\n".encode())
        assert b" 413 " in connection.recv(4096).splitlines()[0]

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * (MAX_BODY_BYTES // 10)

    assert lab.ask("ada", "POST", "/api/runs", data=endless()).status_code == 413


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"[]", b"null", b'{"num_trials": 1e999}', b'{"a": ' * 5000, b"\xff\xfe", b'{"space": "\\u0000"}'],
)
def test_nonsense_is_refused_in_a_sentence(lab: Lab, body: bytes) -> None:
    answer = lab.ask("ada", "POST", "/api/runs", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert all(error["message"] for error in answer.json()["errors"])


def test_slow_clients_hold_nobody_up(lab: Lab) -> None:
    host, port = lab.url.removeprefix("http://").split(":")
    slow = []
    for _ in range(50):
        connection = socket.create_connection((host, int(port)), timeout=20)
        connection.sendall(b"POST /api/runs HTTP/1.1\r\nHost: x\r\nContent-Le")
        slow.append(connection)
    watching = lab.ask("eve", "GET", "/api/events", stream=True)  # never read
    try:
        assert lab.client("bob").run("done")["state"] == "finished"
    finally:
        watching.close()
        for connection in slow:
            connection.close()


def test_a_caller_that_guesses_is_told_to_wait_and_others_are_served(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "FAILED_COST", 20.0)
    wrong = requests.Session()
    for _ in range(int(RATE)):
        answer = wrong.get(f"{lab.url}/api/runs", headers={"Authorization": "Bearer guess"}, timeout=20)
        if answer.status_code == 429:
            break
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert lab.client("bob").run("done")["state"] == "finished"


def test_the_buttons_of_the_queue_are_for_admins(lab: Lab) -> None:
    lab.client("ada").submit(run_name="sooner", cores=1)
    place = "/runs/sooner/priority"
    assert lab.ask("ada", "POST", place, data={"step": "sooner"}, allow_redirects=False).status_code == 403
    assert "sooner-sooner" not in lab.ask("ada", "GET", "/devices").text
    assert "sooner-sooner" in lab.ask("root", "GET", "/devices").text
    lab.client("ada").submit(run_name="other", cores=1)
    for step, priority in (("later", -1), ("sideways", -1), ("sooner", 1)):
        assert lab.ask("root", "POST", place, data={"step": step}).status_code == 200
        assert lab.client("eve").run("sooner")["priority"] == priority
    lab.client("ada").delete("other")
    lab.client("ada").delete("sooner")
