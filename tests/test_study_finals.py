"""Who is in the finals, who wins them, and how much the search flattered: against hand-computed cases."""

from __future__ import annotations

from typing import Any

import pytest
from fabricated_run import finalist_record
from test_study_ranking import record

from model.metrics import METRICS
from search.analysis.wording import finals_rows
from search.settings import SearchSettings
from search.study.finals import RetrainPlan, finals_of
from search.study.retrain_record import RetrainRecord

RECORDS = [
    record(0, scores=(0.99,), violations={"num_params": 9.0}),
    record(1, scores=(0.80,)),
    record(2, scores=(0.90,)),
    record(3, "stopped", (0.95,)),
    record(4, "failed", (0.97,)),
]


def retrains(scores: dict[int, tuple[float, ...]]) -> list[RetrainRecord]:
    return [
        finalist_record(number, index, score) for number, each in scores.items() for index, score in enumerate(each)
    ]


def test_finalists_are_within_the_limits_and_whole_trials_come_first() -> None:
    def numbers(num_top: int) -> list[int]:
        finals = finals_of(RECORDS, [], RetrainPlan(num_top=num_top))
        return [one.record.number for one in finals.finalists]

    assert numbers(1) == [2]
    assert numbers(2) == [2, 1]
    assert numbers(9) == [2, 1, 3]
    over = finals_of(RECORDS[:1], [], RetrainPlan(num_top=2))
    assert [one.record.number for one in over.finalists] == [0]
    assert finals_of(RECORDS[4:], [], RetrainPlan(num_top=2)).winner is None


def test_the_best_mean_on_fresh_seeds_wins() -> None:
    plan = RetrainPlan(num_top=2, num_seeds=3)
    finals = finals_of(RECORDS, retrains({2: (0.81, 0.83, 0.85), 1: (0.84, 0.84, 0.84)}), plan)
    assert finals.is_over
    winner = finals.winner
    assert winner is not None
    assert winner.record.number == 1
    leader = finals.finalists[0]
    assert leader.fresh is not None
    assert leader.optimism is not None
    margin = 4.302653 * 0.02 / 3**0.5  # Student's t of two degrees of freedom, from a table
    assert (leader.fresh.mean, leader.fresh.std) == pytest.approx((0.83, 0.02))
    assert (leader.fresh.low, leader.fresh.high) == pytest.approx((0.83 - margin, 0.83 + margin), 1e-6)
    assert leader.optimism.value == pytest.approx(0.90 - 0.83)
    assert (leader.optimism.low, leader.optimism.high) == pytest.approx((0.07 - margin, 0.07 + margin), 1e-5)
    assert finals_rows(finals, METRICS["accuracy"]) == [
        ["2", "90.00 %", "83.00 %", "2.00", "78.03 to 87.97", "3", "+7.00 (+2.03 to +11.97)"],
        ["1, the winner", "80.00 %", "84.00 %", "0.00", "84.00 to 84.00", "3", "-4.00 (-4.00 to -4.00)"],
    ]


def test_equal_means_go_to_the_better_in_the_search() -> None:
    finals = finals_of(RECORDS, retrains({2: (0.5, 0.5), 1: (0.5, 0.5)}), RetrainPlan(num_top=2, num_seeds=2))
    assert finals.winner is finals.finalists[0]


def test_until_all_have_run_the_best_of_the_search_leads() -> None:
    plan = RetrainPlan(num_top=2, num_seeds=2)
    finals = finals_of(RECORDS, retrains({2: (0.5, 0.5), 1: (0.9,)}), plan)
    assert not finals.is_over
    assert finals.winner is finals.finalists[0]
    assert [row[5] for row in finals_rows(finals, METRICS["accuracy"])] == ["2", "1"]
    assert not any("winner" in row[0] for row in finals_rows(finals, METRICS["accuracy"]))


def test_one_config_on_one_seed_needs_no_finals() -> None:
    finals = finals_of(RECORDS, [], RetrainPlan())
    assert not finals.plan.has_finals
    assert finals.is_over
    assert finals.winner is not None
    assert finals.winner.record.number == 2
    assert finals.winner.optimism is None
    assert finals_rows(finals, METRICS["accuracy"]) == []


def test_one_config_needs_no_finals_on_however_many_seeds() -> None:
    plan = RetrainPlan(num_seeds=2)
    finals = finals_of(RECORDS, [], plan)
    assert finals.is_over
    assert finals.winner is not None
    assert finals.winner.record.number == 2
    assert (plan.num_finals, plan.num_trainings(2), plan.num_rounds(2, 2)) == (0, 6, 3)


@pytest.mark.parametrize(
    ("settings", "plan"),
    [
        ({}, RetrainPlan()),
        ({"retrain_top": None, "retrain_seeds": None}, RetrainPlan()),
        ({"retrain_top": 2, "retrain_seeds": 4}, RetrainPlan(num_top=2, num_seeds=4)),
        ({"retrain_top": 99, "num_trials": 4}, RetrainPlan(num_top=4)),
    ],
)
def test_the_plan_is_what_the_settings_say(settings: dict[str, Any], plan: RetrainPlan) -> None:
    assert RetrainPlan.of(SearchSettings(run_name="r", **settings)) == plan


@pytest.mark.parametrize(
    ("plan", "num_baselines", "num_slots", "num_trainings", "num_rounds"),
    [
        (RetrainPlan(), 2, 1, 3, 3),
        (RetrainPlan(), 2, 2, 3, 2),
        (RetrainPlan(), 0, 8, 1, 1),
        (RetrainPlan(num_top=3, num_seeds=3), 2, 1, 18, 18),
        (RetrainPlan(num_top=3, num_seeds=3), 2, 4, 18, 5),
        # The winner's trainings wait for the finals.
        (RetrainPlan(num_top=3, num_seeds=3), 2, 100, 18, 2),
        (RetrainPlan(num_top=2, num_seeds=1), 0, 2, 3, 2),
    ],
)
def test_trainings_and_rounds_are_counted(
    plan: RetrainPlan, num_baselines: int, num_slots: int, num_trainings: int, num_rounds: int
) -> None:
    assert plan.num_trainings(num_baselines) == num_trainings
    assert plan.num_rounds(num_baselines, num_slots) == num_rounds


def test_a_plan_in_words() -> None:
    assert RetrainPlan().words(has_baselines=False) == "the winner on one seed"
    assert RetrainPlan().words(has_baselines=True) == "the winner and the baselines on one seed each"
    words = RetrainPlan(num_top=2, num_seeds=3).words(has_baselines=True)
    assert words == "2 finalists, the winner and the baselines on 3 seeds each"
