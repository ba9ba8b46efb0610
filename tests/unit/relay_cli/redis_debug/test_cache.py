"""cache: looking, the rules of its options, invalidation that every process hears, and the hot-safe clean-up."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pocket_protocol.pb.pocket import proof_pb2
from pocket_protocol.pb.pocket.application_pb2 import Application
from relay_cli.redis_debug.cache_cleanup import clean_up, plan_cleanup
from relay_cli.redis_debug.deployment import Deployment
from relay_store.connection import Store
from relay_store.entity_cache import invalidate_by_message
from relay_store.keys import Keys
from relay_store.namespace import Namespace
from relay_store.registry import ACTIVE, SupplierState, encode_supplier_state
from tests.mined_relays import KEYS, SUPPLIER
from tests.unit.relay_cli.redis_debug.debug_runs import debug, read

APP = "pokt1application"
CONTAMINATED = encode_supplier_state(SupplierState(SUPPLIER, ACTIVE, True))
HEALTHY = encode_supplier_state(SupplierState(SUPPLIER, ACTIVE, True, ("svc1",)))


@contextmanager
def listening(store: Store, *channels: str) -> Iterator[Any]:
    """Yield a function that returns the messages heard so far, once there are as many as wanted."""
    reader = store.client.pubsub()
    reader.subscribe(*channels)
    for _ in channels:
        assert reader.get_message(timeout=5)["type"] == "subscribe"

    def heard(count: int) -> list[tuple[str, bytes]]:
        messages: list[tuple[str, bytes]] = []
        deadline = time.monotonic() + 5
        while len(messages) < count and time.monotonic() < deadline:
            if message := reader.get_message(timeout=0.1):
                messages.append((message["channel"].decode(), message["data"]))
        return messages

    yield heard
    reader.close()


def test_an_entry_is_shown_readable_and_cut_at_five_hundred_characters(store: Store) -> None:
    application = Application(
        address=APP, delegatee_gateway_addresses=[f"pokt1gateway{i}" for i in range(40)]
    )
    store.client.set(KEYS.application(APP), application.SerializeToString(), ex=100)
    shown = debug(store, "cache", "--type", "application", "--key", APP).stdout
    assert f'"address": "{APP}"' in shown and "characters)" in shown and "pokt1gateway39" not in shown
    document = read(store, "cache", "--type", "application", "--key", APP)
    assert "pokt1gateway39" in document["value"] and 0 < document["ttl_s"] <= 100
    store.client.set(KEYS.application("damaged"), b"\xff\xff")
    assert (
        read(store, "cache", "--type", "application", "--key", "damaged")["value"]
        == "not a Application: ffff"
    )
    store.client.set(KEYS.account(APP), b"\x02" * 33)
    assert read(store, "cache", "--type", "account", "--key", APP)["value"] == "02" * 33
    missing = debug(store, "cache", "--type", "service", "--key", "none")
    assert missing.exit_code == 1 and "not cached: ha:cache:service:none" in missing.stderr


def test_a_list_has_what_is_cached_and_what_is_only_known(store: Store) -> None:
    store.client.set(KEYS.service("cached"), b"abc")
    store.client.sadd(KEYS.known("services"), "known", "cached")
    rows = read(store, "cache", "--type", "service", "--list")
    assert rows == [
        {"entity": "cached", "ttl_s": "none", "bytes": 3},
        {"entity": "known", "ttl_s": "-", "bytes": 0},
    ]


def test_params_have_one_entry_that_needs_no_name(store: Store) -> None:
    params = proof_pb2.Params(proof_request_probability=0.25)
    store.client.set(KEYS.proof_params(), params.SerializeToString(), ex=60)
    for options in ((), ("--key", "proof_params")):
        found = read(store, "cache", "--type", "proof_params", *options)
        assert found["key"] == "ha:cache:proof_params"
        assert json.loads(found["value"])["proof_request_probability"] == 0.25
    with listening(store, KEYS.invalidation_channel("proof_params")) as heard:
        assert debug(store, "cache", "--type", "proof_params", "--invalidate", "--all").exit_code == 0
        assert heard(1) == [("ha:events:cache:proof_params:invalidate", b'{"key":"proof_params"}')]
    assert not store.client.exists(KEYS.proof_params())


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("application", "use one of --key, --list and --invalidate"),
        ("application --key a --list", "use one of --key, --list and --invalidate"),
        ("application --invalidate", "--invalidate needs exactly one of"),
        ("application --invalidate --all --key a", "--invalidate needs exactly one of"),
        ("application --invalidate --key a --dry-run", "--dry-run is for --all and --key-file"),
        ("application --invalidate --all --list", "--invalidate needs exactly one of"),
        ("application --all", "--all needs --invalidate"),
        ("application --list --yes --dry-run", "--dry-run, --yes needs --invalidate"),
        ("all", "--type all needs --invalidate --all"),
        ("all --invalidate --key a", "--type all needs --invalidate --all"),
        ("all --invalidate --all --list", "--type all needs --invalidate --all"),
        ("shared_params --key other", "there is one entry of type shared_params"),
        ("nonsense --list", "Invalid value for '--type'"),
    ],
)
def test_options_that_do_not_go_together_are_refused_and_nothing_is_deleted(
    store: Store, options: str, text: str
) -> None:
    store.client.set(KEYS.application("a"), b"abc")
    result = debug(store, "cache", "--type", *options.split())
    assert result.exit_code == 2 and text in " ".join(result.stderr.split())
    assert store.client.exists(KEYS.application("a"))


@pytest.mark.parametrize(
    ("kind", "field", "known"),
    [
        ("application", "address", "applications"),
        ("account", "address", ""),
        ("service", "service_id", "services"),
    ],
)
def test_an_invalidated_entity_is_gone_unknown_and_told(
    store: Store, kind: str, field: str, known: str
) -> None:
    key = {"application": KEYS.application, "account": KEYS.account, "service": KEYS.service}[kind]("one")
    store.client.set(key, b"abc")
    if known:
        store.client.sadd(KEYS.known(known), "one", "other")
    with listening(store, KEYS.invalidation_channel(kind)) as heard:
        result = debug(store, "cache", "--type", kind, "--key", "one", "--invalidate")
        ((_, payload),) = heard(1)
    assert result.exit_code == 0 and json.loads(payload) == {"key": "one", field: "one"}
    dropped: list[str] = []
    invalidate_by_message(payload, field, dropped.append, lambda: dropped.append("everything"))
    assert dropped == ["one"]  # as a relayer reads it
    assert not store.client.exists(key)
    assert not known or store.client.smembers(KEYS.known(known)) == {b"other"}


def test_a_supplier_goes_only_after_a_yes(store: Store) -> None:
    store.client.set(KEYS.supplier(SUPPLIER), HEALTHY)
    command = ("cache", "--type", "supplier", "--key", SUPPLIER, "--invalidate")
    for answer in ("", "n\n", "yes\n"):
        refused = debug(store, *command, answer=answer)
        assert refused.exit_code == 1 and "503" in refused.stderr and "Abort" in refused.stderr
    assert store.client.get(KEYS.supplier(SUPPLIER)) == HEALTHY
    with listening(store, KEYS.invalidation_channel("supplier")) as heard:
        assert debug(store, *command, answer="y\n").exit_code == 0
        assert json.loads(heard(1)[0][1])["operator_address"] == SUPPLIER
    assert not store.client.exists(KEYS.supplier(SUPPLIER))


def test_many_entries_go_after_a_yes_few_at_once_and_files_may_have_notes(
    store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "services"
    file.write_text("# old ones\n\none\ntwo\none\n")
    for name in ("one", "two", "three"):
        store.client.set(KEYS.service(name), b"abc")
    command = ("cache", "--type", "service", "--invalidate", "--key-file", file)
    planned = debug(store, *command, "--dry-run").stdout
    assert "ha:cache:service:one" in planned and "no keys were deleted" in planned
    assert read(store, *command) == {"type": "service", "deleted": 2, "told": 2}
    assert store.client.exists(KEYS.service("three"))
    for number in range(101):
        store.client.set(KEYS.application(f"a{number}"), b"abc")
    command = ("cache", "--type", "application", "--invalidate", "--all")
    assert debug(store, *command, answer="\n").exit_code == 1
    assert len(read(store, *command, "--dry-run")["keys"]) == 101
    result = debug(store, *command, "--yes")
    assert "101 of 101 were cached" in result.stdout and "100 of 101" in result.stderr
    assert list(store.client.scan_iter("ha:cache:application:*")) == []
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert debug(store, *command[:-1], "--key-file", binary).exit_code == 1


CACHE_KEYS = (
    *(KEYS.application(APP), KEYS.service("svc1"), KEYS.account(APP), KEYS.shared_params()),
    *(KEYS.shared_params_at(7), KEYS.cached_session(APP, "svc1", 7), KEYS.known("applications")),
)
STATE_KEYS = (
    *(
        KEYS.cache_lock("application", APP),
        KEYS.registered_supplier(SUPPLIER),
        KEYS.meter_consumed("s", SUPPLIER),
    ),
    *(
        KEYS.service_factor(),
        KEYS.relay_stream(SUPPLIER),
        KEYS.session(SUPPLIER, "s"),
        KEYS.smst(SUPPLIER, "s", "root"),
    ),
)
CHANNELS = [
    *(KEYS.invalidation_channel(kind) for kind in ("application", "service", "supplier", "account")),
    *(KEYS.invalidation_channel(kind) for kind in ("shared_params", "proof_params")),
    KEYS.supplier_params_channel(),
]


def test_all_caches_go_state_stays_and_everyone_is_told_afterwards(store: Store) -> None:
    for key in (*CACHE_KEYS, *STATE_KEYS):
        store.client.set(key, b"abc")
    store.client.set(KEYS.supplier(SUPPLIER), CONTAMINATED)
    store.client.set(KEYS.supplier("pokt1healthy"), HEALTHY)
    store.client.set(KEYS.supplier("pokt1unreadable"), b"{")
    command = ("cache", "--type", "all", "--invalidate", "--all")
    assert len(read(store, *command, "--dry-run")["keys"]) == len(CACHE_KEYS) + 1
    assert debug(store, *command, answer="n\n").exit_code == 1
    assert store.client.exists(*CACHE_KEYS) == len(CACHE_KEYS)
    with listening(store, *CHANNELS) as heard:
        document = read(store, *command, "--yes")
        assert heard(len(CHANNELS)) == [(channel, b"{}") for channel in CHANNELS]
    assert document["deleted"] == len(CACHE_KEYS) + 1 and document["healed"] == []
    assert document["groups"]["session"] == 1 and document["groups"]["supplier (contaminated)"] == 1
    assert store.client.exists(*CACHE_KEYS, KEYS.supplier(SUPPLIER)) == 0
    kept = (*STATE_KEYS, KEYS.supplier("pokt1healthy"), KEYS.supplier("pokt1unreadable"))
    assert store.client.exists(*kept) == len(kept)


def test_everyone_is_told_also_when_nothing_was_cached(store: Store) -> None:
    with listening(store, *CHANNELS) as heard:
        assert debug(store, "cache", "--type", "all", "--invalidate", "--all", "--yes").exit_code == 0
        assert len(heard(len(CHANNELS))) == len(CHANNELS)


def test_a_supplier_healed_between_plan_and_deletion_stays(store: Store) -> None:
    deployment = Deployment(store, KEYS)
    other = "pokt1changed"
    for supplier in (SUPPLIER, other):
        store.client.set(KEYS.supplier(supplier), CONTAMINATED)
    plan = plan_cleanup(deployment)
    store.client.set(KEYS.supplier(SUPPLIER), HEALTHY)
    store.client.set(KEYS.supplier(other), CONTAMINATED + b" ")  # written anew, and as useless as before
    outcome = clean_up(deployment, plan)
    assert (outcome.deleted, outcome.healed) == (1, (SUPPLIER,))
    assert store.client.get(KEYS.supplier(SUPPLIER)) == HEALTHY and not store.client.exists(
        KEYS.supplier(other)
    )


def test_another_namespace_is_another_deployment(store: Store) -> None:
    other = Keys(Namespace(base="hb", own="other:"))
    store.client.set(KEYS.application(APP), b"abc")
    store.client.set(other.application(APP), b"abc")
    clean_up(Deployment(store, other), plan_cleanup(Deployment(store, other)))
    assert store.client.exists(KEYS.application(APP)) and not store.client.exists(other.application(APP))
