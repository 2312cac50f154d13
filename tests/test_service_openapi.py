"""Requests made up from the service's own description, by schemathesis: none makes it fall or answer against it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from served import finished_run, hold_all_cores, served, wait_until

pytest.importorskip("schemathesis", reason="schemathesis is not installed")
pytest.importorskip("fastapi", reason="the extra [service] is not installed")

import requests
import schemathesis
import torch
from hypothesis import HealthCheck, given, settings
from schemathesis.core.result import Ok

from search.service import guard

EXAMPLES = int(os.environ.get("SERVICE_EXAMPLES", "5"))
"""Requests for each route; many more in CI."""

_SETTINGS = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "results").mkdir()
    finished_run(folder / "results" / "done", num_trials=3)
    with pytest.MonkeyPatch.context() as patch, served(folder) as (address, service):
        patch.setattr(guard, "BURST", 1e9)
        hold_all_cores(service)
        wait_until(lambda: service.supervisor.summaries.of)
        yield address


@pytest.mark.slow
def test_no_made_up_request_makes_it_fall(url: str) -> None:
    torch.set_flush_denormal(False)  # trainings of earlier tests set it, and Hypothesis draws no floats then
    schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json")
    checks: list[Any] = [schemathesis.checks.not_a_server_error]
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if operation.path.endswith("events"):  # they never end
            continue
        tried += 1

        @given(case=operation.as_strategy())
        @_SETTINGS
        def answers(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(checks=checks, timeout=30)

        answers()
    assert tried > 15
    assert requests.get(f"{url}/api/runs/done", timeout=20).json()["state"] == "finished"
