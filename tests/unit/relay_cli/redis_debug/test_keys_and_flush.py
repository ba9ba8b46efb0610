"""keys and flush: every kind is told by its name, and nothing alive goes without force."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay_cli.redis_debug.key_kinds import REPLACEABLE, UNKNOWN, KeyKinds, Named
from relay_store.connection import Store
from relay_store.keys import Keys, LeaseKeys
from relay_store.lease import StoreLease
from relay_store.namespace import Namespace
from tests.mined_relays import KEYS, SUPPLIER, publish_relays
from tests.recorded import needs_recordings
from tests.reference_dumps import load_dump
from tests.unit.relay_cli.redis_debug.debug_runs import SESSION_KEY, SID, TOKEN, debug, mine, read

TREE_KEYS = [
    *(KEYS.session(SUPPLIER, SID), KEYS.leaves(SUPPLIER, SID), KEYS.index(SUPPLIER, SID)),
    *(KEYS.seal(SUPPLIER, SID), KEYS.root(SUPPLIER, SID), KEYS.intent(SUPPLIER, SID, "claim")),
]


def spelled_by(keys: Keys) -> Iterator[tuple[str, str]]:
    """Yield (builder, a key of its) for every builder there is; channels and patterns are no keys."""
    for name, build in inspect.getmembers(keys, inspect.ismethod):
        if name.startswith("_") or name.endswith(("_channel", "_pattern")) or name == "consumer_group":
            continue
        parameters = inspect.signature(build).parameters.values()
        examples = {"phase": "claim"}
        spelled = build(
            *(7 if one.annotation == "int" else examples.get(one.name, "x1") for one in parameters)
        )
        for key in (
            (spelled.lease, spelled.epoch, spelled.owner) if isinstance(spelled, LeaseKeys) else (spelled,)
        ):
            if key is not None:
                yield name, key


@pytest.mark.parametrize("name_and_key", list(spelled_by(KEYS)), ids=lambda pair: pair[0])
def test_no_key_is_of_unknown_kind(name_and_key: tuple[str, str]) -> None:
    """A key that is added to `keys.py` must say whether `flush` may take it."""
    assert KeyKinds(KEYS).of(name_and_key[1].encode()).kind != UNKNOWN


@pytest.mark.parametrize("keys", [KEYS, Keys(Namespace(base="a:b", own="c:d", cache="e.f"))])
def test_the_name_of_a_key_says_its_kind_and_whose_it_is(keys: Keys) -> None:
    def of(key: str) -> Named:
        return KeyKinds(keys).of(key.encode())

    of_sessions = [keys.session(SUPPLIER, SID), keys.intent(SUPPLIER, SID, "proof"), keys.root(SUPPLIER, SID)]
    assert {of(key) for key in of_sessions} == {Named("session tree", SUPPLIER, SID)}
    assert of(keys.dead(SUPPLIER)) == Named("supplier of ours", SUPPLIER)
    assert of(keys.relay_stream(SUPPLIER)) == Named("relay stream", SUPPLIER)
    assert of(keys.smst(SUPPLIER, SID, "nodes")) == Named("reference tree", SUPPLIER, SID)
    assert of(keys.reference_session(SUPPLIER, SID)) == Named("reference session", SUPPLIER, SID)
    assert of(keys.reference_session_index(SUPPLIER)).session == ""
    assert of(keys.rebroadcast("claim", SUPPLIER, 7)).kind == "reference session"
    for key in (
        *(keys.beat_lease().lease, keys.height(), keys.miner_claim(SUPPLIER), keys.supplier(SUPPLIER)),
        *(keys.registered_supplier(SUPPLIER), keys.meter_consumed(SID, SUPPLIER), keys.application("a")),
        *(keys.known("services"), keys.submission(SUPPLIER, 20, SID), keys.simulation_replay("00")),
        *(keys.service_factor(), keys.service_factor("svc1"), keys.legacy_app_stake("a")),
    ):
        assert of(key).kind in REPLACEABLE, key
    assert of(keys.version()).kind == "data version"
    assert of("celery").kind == of(keys.relay_stream(SUPPLIER) + ":more").kind == UNKNOWN


def test_keys_are_listed_up_to_the_limit_and_counted_by_kind(store: Store, tmp_path: Path) -> None:
    mine(store, tmp_path, 3)
    for number in range(30):
        store.client.set(KEYS.application(f"a{number}"), b"abc", ex=60)
    store.client.set("elsewhere", 1)
    names = read(store, "keys", "--limit", 0)
    assert len(names) == len(set(names)) == store.client.dbsize() - 1
    assert len(read(store, "keys", "--limit", 7)) == 7
    document = read(store, "keys", "--stats", "--pattern", "ha:cache:*", "--limit", 2)
    assert len(document["keys"]) == 2 and document["kinds"] == [{"kind": "entity cache", "keys": 30}]
    row = document["keys"][0]
    assert (
        (row["type"], row["kind"]) == ("string", "entity cache")
        and 0 < row["ttl_s"] <= 60
        and row["bytes"] > 3
    )
    assert "30 keys match" in debug(store, "keys", "--stats", "--pattern", "ha:cache:*").stdout
    assert read(store, "keys", "--pattern", "else*") == ["elsewhere"]


def test_a_key_that_is_no_text_is_shown_and_goes_only_with_force(store: Store) -> None:
    store.client.set(b"ha:cache:service:\xff\n[red]", 1)
    store.client.set(KEYS.service("other"), 1)
    assert "ha:cache:service:\\xff\\n[red]" in debug(store, "keys").stdout
    command = ("flush", "--pattern", "ha:cache:service:?*[[]red]")
    assert debug(store, *command, answer="DELETE\n").exit_code == 1
    assert debug(store, *command, "--force", answer="DELETE\n").exit_code == 0
    assert store.client.keys("ha:cache:*") == [KEYS.service("other").encode()]


def test_flush_deletes_only_after_the_word(store: Store) -> None:
    names = [KEYS.application(f"a{number:03d}") for number in range(120)]
    for name in names:
        store.client.set(name, b"abc")
    command = ("flush", "--pattern", "ha:cache:*")
    for answer in ("", "\n", "delete\n", "DELETE ALL\n", "y\n"):
        result = debug(store, *command, answer=answer)
        assert result.exit_code == 1 and "Abort" in result.stderr
    assert "Aborted. No keys were deleted." in debug(store, *command, answer="y\n").stderr
    assert store.client.exists(*names) == 120
    result = debug(store, *command, answer="DELETE\n")
    assert result.exit_code == 0 and "120 keys deleted" in result.stdout
    assert "and 100 more" in result.stderr and "100 of 120" in result.stderr
    assert store.client.dbsize() == 0
    assert "no key matches" in debug(store, *command).stdout
    assert debug(store, "flush").exit_code == debug(store, *command, "--all").exit_code == 2


def test_live_trees_waiting_relays_and_unknown_keys_are_refused_without_force(
    store: Store, tmp_path: Path
) -> None:
    mine(store, tmp_path, 3, sealed=True)
    publish_relays(store, 1, [9])
    store.client.set("elsewhere", 1)
    before = store.client.dbsize()
    for pattern, kind in (
        ("pm:*", "5 × session tree"),
        (KEYS.relay_stream_pattern(), "1 × relay stream"),
        (KEYS.epoch("*"), "1 × supplier of ours"),
        ("else*", "1 × unknown"),
        ("*", "1 × unknown"),
    ):
        result = debug(store, "flush", "--pattern", pattern, answer="DELETE\n")
        assert (
            result.exit_code == 1 and "still needed or not known: " in result.stderr and kind in result.stderr
        )
    assert store.client.dbsize() == before
    assert debug(store, "flush", "--all", "--force", answer="no\n").exit_code == 1
    assert debug(store, "flush", "--all", "--force", answer="DELETE\n").exit_code == 0
    assert store.client.keys("*") == [b"elsewhere"]


def test_what_is_over_goes_without_force(store: Store, tmp_path: Path) -> None:
    mine(store, tmp_path, 3, sealed=True)
    StoreLease(store).release(KEYS.supplier_lease(SUPPLIER), TOKEN)
    store.client.hset(SESSION_KEY, "state", "proved")
    assert debug(store, "flush", "--pattern", "pm:*", answer="DELETE\n").exit_code == 0
    assert store.client.keys("pm:*") == []
    for name in TREE_KEYS:  # without a record nobody knows whether it is over
        store.client.set(name, b"abc")
    store.client.delete(SESSION_KEY)
    assert debug(store, "flush", "--pattern", "pm:*", answer="DELETE\n").exit_code == 1


@pytest.mark.parametrize(("state", "code"), [("active", 1), ("proved", 0), ("nonsense", 1)])
def test_trees_of_a_reference_miner_go_when_their_session_is_over(
    store: Store, state: str, code: int
) -> None:
    store.client.hset(KEYS.smst(SUPPLIER, SID, "nodes"), "00", "00")
    store.client.hset(KEYS.reference_session(SUPPLIER, SID), "state", state)
    assert debug(store, "flush", "--pattern", "ha:smst:*", answer="DELETE\n").exit_code == code
    assert store.client.exists(KEYS.smst(SUPPLIER, SID, "nodes")) == code


@needs_recordings
def test_every_key_of_a_real_reference_deployment_has_a_kind(store: Store) -> None:
    load_dump(store, "2x-height-704")
    kinds = {row["kind"]: row["keys"] for row in read(store, "keys", "--stats", "--limit", 1)["kinds"]}
    assert UNKNOWN not in kinds and kinds["reference tree"] == 28 and kinds["submission record"] == 15
    assert debug(store, "flush", "--pattern", "ha:smst:*", answer="DELETE\n").exit_code == 1
