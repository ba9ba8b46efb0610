"""The fuzzing runs, small: each target takes its own seeds, refuses others and breaks at none; planted defects are found."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz import judge as judging
from tests.fuzz.campaign import Outcome, lines_of, run_target
from tests.fuzz.catalogue import LIVE, TARGETS
from tests.fuzz.judge import Judge, watch_cpu
from tests.fuzz.live import run_live
from tests.fuzz.mutation import mutated_inputs
from tests.fuzz.page import page_of
from tests.fuzz.target import Target
from tests.fuzz.targets.planted import LOOPS, RAISES, WORD
from tests.fuzz.worker import load

INPUTS, UNCHANGED = 160, 120


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    watch_cpu()
    yield


def tried(target: Target, directory: Path, inputs: int = INPUTS) -> Judge:
    with target.opened() as attempt:
        judge = Judge(attempt, inputs, 0.0, directory)
        for data in mutated_inputs(target, 1, UNCHANGED):
            judge.try_one(data)
            if judge.is_done:
                return judge
    raise AssertionError("inputs do not end")


@pytest.mark.stress
@pytest.mark.parametrize("name", LIVE)
def test_a_running_relayer_holds(name: str, tmp_path: Path) -> None:
    outcome = run_live(name, inputs=500, seed=1, seconds=0.0, directory=tmp_path, say=print)
    assert (outcome.count, outcome.finds) == (500, ())
    assert outcome.accepted > 400


@pytest.mark.parametrize("name", TARGETS)
def test_each_target_holds(name: str, tmp_path: Path) -> None:
    judge = tried(load(name), tmp_path)
    assert judge.finds == {}
    assert 0 < judge.accepted < judge.count == INPUTS


def test_an_error_is_found_with_its_input(tmp_path: Path) -> None:
    judge = tried(RAISES, tmp_path)
    (find,) = judge.finds.values()
    assert (find.kind, find.text) == ("KeyError", "'planted'") and find.place.startswith(
        "planted.py:raise_at_word"
    )
    assert (tmp_path / find.input_path).read_bytes().startswith(WORD)
    assert "Traceback" in (tmp_path / f"{find.input_path}.txt").read_text()
    assert judge.count == INPUTS, "one find does not end a run"


def test_a_loop_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "CPU_LIMIT_S", 0.05)
    (find,) = tried(LOOPS, tmp_path, 20).finds.values()
    assert find.kind == "TooSlow"


def test_growth_is_found(tmp_path: Path) -> None:
    judge = Judge(lambda data: True, 10, 0.0, tmp_path)
    for _ in range(10):
        judge.try_one(b"")
    judge.last_kb()
    assert not judge.finds and judge.first_kb
    judge.first_kb -= judging.MAX_GROWTH_KB + 1024
    judge.last_kb()
    assert [find.kind for find in judge.finds.values()] == ["growth"]


def test_a_process_that_dies_is_found_and_told_of(tmp_path: Path) -> None:
    outcome = run_target(
        "tests.fuzz.targets.planted:DIES",
        engine="mutation",
        inputs=INPUTS,
        seed=1,
        seconds=0.0,
        directory=tmp_path,
        say=print,
    )
    (find,) = outcome.finds
    assert find.kind == "process ended with 3" and 0 < outcome.count < INPUTS
    assert (Path(outcome.order.directory) / find.input_path).read_bytes().startswith(WORD)
    assert "process ended with 3" in "\n".join(lines_of(outcome))
    assert Outcome.of(outcome.document()) == outcome


def test_the_same_seed_makes_the_same_inputs() -> None:
    target = load("gob")
    first, again, other = (list(islice(mutated_inputs(target, seed), 500)) for seed in (1, 1, 2))
    assert first == again != other


def test_a_run_through_its_own_process_makes_a_page(tmp_path: Path) -> None:
    outcome = run_target(
        "address", engine="mutation", inputs=500, seed=3, seconds=0.0, directory=tmp_path, say=print
    )
    assert (outcome.count, outcome.finds) == (500, ()) and outcome.accepted and outcome.last_kb
    assert "| `address` | bech32 addresses | mutation | 1,000 |" in page_of([outcome, outcome], "2030-01-31")
