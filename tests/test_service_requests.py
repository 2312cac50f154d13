"""Requests that go wrong or come from nobody who is known: what is said, and where browsers are led."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

import requests
from served import finished_run, served, wait_until

from search.service import guard

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
REPORT = "/api/runs/done/report"


@pytest.fixture(scope="module", params=["", "/lab/search"], ids=["root", "path"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a service with tokens, and a token."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "results").mkdir()
    finished_run(folder / "results" / "done", num_trials=3)
    with (
        pytest.MonkeyPatch.context() as patch,
        served(folder, needs_tokens=True, root_path=request.param) as (url, service),
    ):
        patch.setattr(guard, "FAILED_COST", 1.0)
        wait_until(lambda: service.supervisor.summaries.of)
        yield url, service.access.add_token("ada", "member")


def authorized(lab: tuple[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {lab[1]}"}


@pytest.mark.parametrize("path", ["/api/runs", REPORT, "/runs/done"])
@pytest.mark.parametrize("accept", [{}, BROWSER])
def test_a_token_that_is_not_known_is_called_so(lab: tuple[str, str], path: str, accept: dict[str, str]) -> None:
    answer = requests.get(lab[0] + path, headers={"Authorization": "Bearer wrong", **accept}, timeout=20)
    [error] = answer.json()["errors"]
    assert answer.status_code == 401
    assert "the token is not known: it was removed or mistyped" in error["message"]
    assert "wrong" not in error["message"]


def test_a_program_without_a_token_is_told_to_send_one(lab: tuple[str, str]) -> None:
    answer = requests.get(lab[0] + REPORT, timeout=20)
    assert answer.status_code == 401
    assert "a token is needed: `Authorization: Bearer TOKEN`" in answer.text
    assert requests.delete(f"{lab[0]}/api/runs/done", headers=BROWSER, timeout=20).status_code == 401


@pytest.mark.parametrize(
    "path", [REPORT, "/api/runs/done/files/space.toml", "/runs/done", "/?state=finished&text=d%20e"]
)
def test_a_browser_is_led_to_the_login_and_then_to_what_it_asked_for(lab: tuple[str, str], path: str) -> None:
    url, token = lab
    session = requests.Session()
    form = session.get(url + path, headers=BROWSER, timeout=20)
    assert (form.status_code, urlsplit(form.url).path) == (200, urlsplit(f"{url}/login").path)
    wanted = session.post(form.url, data={"token": token}, timeout=20)  # as a form without an address does
    assert (wanted.status_code, wanted.url) == (200, url + path)
    assert "Log in" not in wanted.text


@pytest.mark.parametrize(
    "asked", ["//evil.example/", "/\\evil.example", "https://evil.example", "/\t/evil.example", "evil.example", "", "/"]
)
def test_a_login_leads_to_no_other_site(lab: tuple[str, str], asked: str) -> None:
    url, token = lab
    address = requests.Request("POST", f"{url}/login", params={"next": asked}).prepare().url
    assert address is not None
    assert parse_qs(urlsplit(address).query, keep_blank_values=True) == {"next": [asked]}
    answer = requests.post(address, data={"token": token}, timeout=20, allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{urlsplit(url).path}/")


@pytest.mark.parametrize("path", ["/", "/runs/done", "/login", "/healthz", "/api/runs", REPORT, "/static/service.css"])
def test_a_head_is_answered_as_a_get_without_the_body(lab: tuple[str, str], path: str) -> None:
    head, get = (
        requests.request(method, lab[0] + path, headers=authorized(lab), timeout=20) for method in ("HEAD", "GET")
    )
    assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_a_head_of_events_ends(lab: tuple[str, str]) -> None:
    assert requests.head(f"{lab[0]}/api/events", headers=authorized(lab), timeout=20).status_code == 405


@pytest.mark.parametrize(("body", "character"), [('{"num_trials": 3,}', 18), ("[", 2), ("nul", 1), ("{'a': 1}", 2)])
def test_a_body_that_is_broken_json_says_where(lab: tuple[str, str], body: str, character: int) -> None:
    headers = {**authorized(lab), "Content-Type": "application/json"}
    [error] = requests.post(f"{lab[0]}/api/runs", data=body, headers=headers, timeout=20).json()["errors"]
    assert "the body is not valid JSON" in error["message"]
    assert f"at character {character})" in error["message"]
    assert "field" not in error


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("page=abc", "`page` must be a whole number; got 'abc'."),
        ("page_size=0", "`page_size` must be at least 1; got '0'."),
    ],
)
def test_a_bad_value_in_an_address_is_named_in_plain_words(lab: tuple[str, str], query: str, words: str) -> None:
    answer = requests.get(f"{lab[0]}/api/runs?{query}", headers=authorized(lab), timeout=20)
    assert answer.json()["errors"] == [{"message": words, "field": words.split("`")[1]}]
