"""Forms of the service's pages: what was chosen comes back as it was."""

from __future__ import annotations

import pytest

from search.command_line import build_parser
from search.service.forms import request_of, shown_value
from search.service.submission import ALLOWED, arguments
from search.settings import OPTIONS, SearchSettings, kind_of

TIMES = [name for name in ALLOWED if OPTIONS[name].unit == "s"]
SWITCHES = [name for name in ALLOWED if kind_of(name) is bool]


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("name", SWITCHES)
def test_a_run_like_another_has_its_switches(name: str, is_on: bool) -> None:
    request, errors = request_of({name: shown_value(name, is_on)})
    assert errors == []
    assert getattr(request, name) is is_on


@pytest.mark.parametrize("value", [5.0, 2.5, 3600.0, 1e6 + 0.25])
@pytest.mark.parametrize("name", TIMES)
def test_a_run_like_another_has_its_times(name: str, value: float) -> None:
    request, errors = request_of({name: shown_value(name, value)})
    assert errors == []
    assert getattr(request, name) == value
    settings = SearchSettings.model_validate({"run_name": "r", name: value})
    [word] = set(arguments(settings)) - {"--name=r"}
    assert getattr(build_parser().parse([word]), name) == value


def test_a_time_without_a_unit_is_refused() -> None:
    [error] = request_of({"time_budget_s": "5"})[1]
    assert error["field"] == "time_budget_s"
    assert "5min" in error["message"]


def test_there_are_switches_either_way() -> None:
    assert {"baseline", "strict"} <= set(SWITCHES)
