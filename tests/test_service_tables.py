"""Tables over HTTP have the values of the run's folder to the last digit."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd
import pytest

pytest.importorskip("fastapi", reason="the extra [service] is not installed")

from served import finished_run, served

from search import load_run
from search.service import Client
from search.service.context import Service
from search.service.tables import table


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Service]]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "results").mkdir()
    finished_run(folder / "results" / "done", num_trials=5)
    with served(folder) as opened:
        yield opened


@pytest.mark.parametrize("name", ["trials", "epochs"])
def test_a_table_in_json_has_every_digit(server: tuple[str, Service], name: str) -> None:
    frame = getattr(load_run(server[1].runs.folders.run("done")), name)
    rows = Client(server[0]).get(f"runs/done/{name}").json()
    assert len(rows) == len(frame)
    for column in frame:
        sent = [row[column] for row in rows]
        if pd.api.types.is_datetime64_any_dtype(frame[column]):
            sent = list(map(pd.Timestamp, sent))
        assert [None if pd.isna(value) else value for value in frame[column]] == sent, column


def test_a_table_in_json_keeps_all_numbers_that_a_double_or_an_integer_may_be() -> None:
    floats = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, 1 / 3, float("nan"), float("inf")]
    seeds = [2**53 + 1, 2**63 - 1, 0, 1, 2, None]
    frame = pd.DataFrame(
        {"x": floats, "seed": pd.array(seeds, dtype="Int64"), "at": pd.Timestamp("2026-01-02 03:04:05.678901")}
    )
    rows = json.loads(bytes(table(frame, "json").body))
    assert [row["x"] for row in rows] == [*floats[:4], None, None]
    assert [row["seed"] for row in rows] == seeds
    assert {row["at"] for row in rows} == {"2026-01-02T03:04:05.678901"}
