"""Tokens, roles and logins; and that without tokens only the user who started the service is let in."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from search.errors import UserError
from search.service.access import COOKIE, Access, Caller, is_loopback
from search.service.guard import BURST, RATE, RateLimit
from search.service.store import RunEntry, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "service.db")


def test_the_file_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """It had no column for who asked for more trials."""
    path = tmp_path / "service.db"
    earlier = Store(path)
    earlier.execute("ALTER TABLE runs DROP COLUMN asked_by")
    earlier.close()
    entry = RunEntry(name="r", owner="ada", request={}, arguments=[], num_gpus=0, cores=1, asked_by="root")
    for _ in range(2):
        store = Store(path)
        store.remove("r")
        store.add(entry)
        assert store.run("r") == entry
        store.close()


def test_a_token_names_its_holder_and_role_and_is_kept_as_a_hash(store: Store, tmp_path: Path) -> None:
    access = Access(store, needs_tokens=True)
    token = access.add_token("ada", "member")
    assert access.caller({"authorization": f"Bearer {token}"}, None, None) == Caller("ada", "member")
    assert access.caller({"authorization": f"Bearer {token}x"}, None, None) is None
    assert access.caller({}, None, None) is None
    assert token.encode() not in (tmp_path / "service.db").read_bytes()


def test_a_login_stands_for_its_token_and_ends_with_it(store: Store) -> None:
    access = Access(store, needs_tokens=True)
    cookie = access.log_in(access.add_token("ada", "admin"))
    headers = {"cookie": f"other=1; {COOKIE}={cookie}"}
    assert access.caller(headers, None, None) == Caller("ada", "admin")
    access.remove_token("ada")
    assert access.caller(headers, None, None) is None
    assert access.log_in("wrong") is None


def test_logging_out_ends_a_login(store: Store) -> None:
    access = Access(store, needs_tokens=True)
    cookies = f"{COOKIE}={access.log_in(access.add_token('ada', 'viewer'))}"
    access.log_out(cookies)
    assert access.caller({"cookie": cookies}, None, None) is None


@pytest.mark.parametrize(("role", "steers"), [("viewer", False), ("member", True), ("admin", True)])
def test_members_steer_their_own_runs_and_admins_all(role: str, steers: bool) -> None:
    assert Caller("ada", role).may_steer("ada") == steers
    assert Caller("ada", role).may_steer("bob") == (role == "admin")


def test_a_name_has_one_token(store: Store) -> None:
    access = Access(store, needs_tokens=True)
    access.add_token("ada", "member")
    with pytest.raises(UserError, match="ada already"):
        access.add_token("ada", "admin")
    with pytest.raises(UserError, match="got 'root'"):
        access.add_token("bob", "root")
    with pytest.raises(UserError, match="no token of bob"):
        access.remove_token("bob")


HOST = {"host": "localhost:8321"}


def test_without_tokens_only_the_own_user_on_this_machine_is_let_in(store: Store) -> None:
    access = Access(store, needs_tokens=False)
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        connection, peer = server.accept()
        own = server.getsockname()
        with connection:
            assert peer == ours.getsockname()
            caller = access.caller(HOST, peer, own)
            assert caller is not None
            assert caller.role == "admin"
            assert access.caller({"host": "evil.example"}, peer, own) is None  # a name that points here
            assert access.caller(HOST, peer, ("127.0.0.1", own[1] + 1)) is None  # our connection to another program
    assert access.caller(HOST, ("127.0.0.1", 1), own) is None  # nobody's connection
    access.add_token("ada", "member")
    assert access.caller(HOST, peer, own) is None


def test_a_connection_that_its_process_has_closed_is_not_taken_for_roots(store: Store) -> None:
    access = Access(store, needs_tokens=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        connection, peer = server.accept()
        with connection:
            assert access.caller(HOST, peer, server.getsockname()) is not None
            ours.close()  # Linux says from now on that root has it, whoever had it
            assert access.caller(HOST, peer, server.getsockname()) is None


def test_an_address_that_a_proxy_made_up_is_nobodys(store: Store) -> None:
    access = Access(store, needs_tokens=False)
    assert access.caller(HOST, ("unknown", 0), ("127.0.0.1", 8321)) is None


@pytest.mark.parametrize(
    ("host", "expected"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("box", False)]
)
def test_only_loopback_addresses_need_no_tokens(host: str, expected: bool) -> None:
    assert is_loopback(host) == expected


def test_a_caller_has_a_burst_and_then_a_rate() -> None:
    now = 0.0
    limit = RateLimit(lambda: now)
    assert sum(limit.takes("ada") for _ in range(1000)) == BURST
    assert limit.takes("bob")
    now = 2.0
    assert sum(limit.takes("ada") for _ in range(1000)) == 2 * RATE
