"""Forms of the service's pages: what was chosen comes back as it was."""

from __future__ import annotations

import pytest

from search.service.forms import request_of, shown_value
from search.service.submission import ALLOWED
from search.settings import kind_of

SWITCHES = [name for name in ALLOWED if kind_of(name) is bool]


@pytest.mark.parametrize("is_on", [True, False])
@pytest.mark.parametrize("name", SWITCHES)
def test_a_run_like_another_has_its_switches(name: str, is_on: bool) -> None:
    request, errors = request_of({name: shown_value(name, is_on)})
    assert errors == []
    assert getattr(request, name) is is_on


def test_there_are_switches_either_way() -> None:
    assert {"baseline", "strict"} <= set(SWITCHES)
