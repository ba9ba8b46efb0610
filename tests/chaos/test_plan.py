"""The plan of a run, and what is said of it: cheap enough for every CI run."""

from __future__ import annotations

import pytest

from tests.chaos.plan import KINDS, draw
from tests.chaos.report import plan_digest
from tests.chaos.verdict import TAKE_OVER_S, Verdict, judge_restarts, judge_take_overs


@pytest.mark.parametrize("scenario", KINDS)
def test_a_seed_draws_one_plan_with_every_kind(scenario: str) -> None:
    plan = draw(scenario, 7, 100, 300.0)
    assert plan == draw(scenario, 7, 100, 300.0)
    assert plan_digest(plan) != plan_digest(draw(scenario, 8, 100, 300.0))
    assert {fault.kind for fault in plan} == {kind.name for kind in KINDS[scenario]}
    assert [fault.seconds for fault in plan] == sorted(fault.seconds for fault in plan)


def test_the_kinds_of_faults_that_are_promised_are_there() -> None:
    names = {kind.name for kind in KINDS["standard"]}
    assert names >= {
        *(
            "kill parent",
            "kill child",
            "kill beat",
            "kill master",
            "pause parent",
            "pause beat",
            "kill store",
        ),
        *("store nearly full", "store full", "node down", "node holds", "node slow", "node lags"),
        *("chain's clock off", "cut connections", "hold connections"),
    }
    (clock,) = (kind for kind in KINDS["standard"] if kind.name == "chain's clock off")
    assert set(clock.amounts) == {-30.0, 30.0}
    assert {"fail over", "fail over, then kill"} <= {kind.name for kind in KINDS["sentinel"]}


def test_what_ended_by_itself_or_was_taken_over_late_is_a_problem() -> None:
    verdict = Verdict()
    judge_restarts(verdict, ["miner-1 was ended by signal 9; starting it again", "miner-1 is ready again"])
    judge_take_overs(verdict, [("kill parent", TAKE_OVER_S - 0.1)])
    assert verdict.passed
    judge_restarts(verdict, ["miner-1 ended with code 1; starting it again in 0.2 s"])
    judge_take_overs(verdict, [("kill parent", TAKE_OVER_S)])
    assert len(verdict.problems) == 2
