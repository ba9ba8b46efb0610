"""meter over what the relay meter writes, pubsub over real messages, and every command on a store that is away."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from relay_cli.main import cli
from relay_cli.redis_debug.command import COMMANDS
from relay_store.connection import Store
from relay_store.group_commit import GroupCommit
from relay_store.keys import Keys
from relay_store.meter import Allowance, RelayMeter
from relay_store.namespace import Namespace
from relay_store.service_factor import encode_factor
from tests.mined_relays import KEYS, SUPPLIER
from tests.topologies import wait_until
from tests.unit.relay_cli.redis_debug.debug_runs import SID, debug, read, url_of
from tests.unit.relay_cli.screen import Screen, run_until_ctrl_c


def charge(store: Store, keys: Keys, session: str, *, app: str = "pokt1app", service: str = "svc1") -> None:
    meter = RelayMeter(GroupCommit(store), keys, ttl_s=60)
    allowance = Allowance(session, SUPPLIER, app, service, 20, 1000, None, 10_000)
    meter.reserve(allowance, 250)


def test_meters_show_what_is_used_of_the_limit(store: Store) -> None:
    charge(store, KEYS, SID)
    charge(store, KEYS, "other", app="pokt1other", service="svc2")
    (row,) = read(store, "meter", "--session", SID)
    assert (row["supplier"], row["application"], row["service"]) == (SUPPLIER, "pokt1app", "svc1")
    assert (row["consumed_upokt"], row["limit_upokt"], row["left_upokt"], row["used"]) == (
        250,
        1000,
        750,
        "25.0%",
    )
    assert 0 < row["ttl_s"] <= 60 and row["session_end"] == 20
    for option, value in (("--app", "pokt1other"), ("--service", "svc2")):
        assert [row["session"] for row in read(store, "meter", option, value)] == ["other"]
    assert len(read(store, "meter", "--supplier", SUPPLIER)) == 2
    store.client.delete(KEYS.meter_meta(SID, SUPPLIER))
    assert read(store, "meter", "--session", SID)[0]["used"] == "no limit known"
    store.client.set(KEYS.meter_meta(SID, SUPPLIER), b"[")
    assert "25.0%" in debug(store, "meter").stdout


def test_every_key_of_metering_is_listed_on_demand(store: Store) -> None:
    charge(store, KEYS, SID)
    store.client.set(KEYS.service_factor("svc1"), encode_factor(0.5, 1), ex=60)
    store.client.set(KEYS.legacy_app_stake("a"), b"7")
    rows = {row["key"]: row for row in read(store, "meter", "--all")}
    assert rows[KEYS.meter_active_sessions()]["value"] == "1 members"
    assert rows[KEYS.service_factor("svc1")]["value"] == '{"factor":0.5,"updated_at":1}'
    assert rows[KEYS.legacy_app_stake("a")]["ttl_s"] == -1


def test_the_prefix_of_the_meters_keys_comes_from_the_relayers_file(store: Store, tmp_path: Path) -> None:
    charge(store, Keys(Namespace(meter_keys="mk")), SID)
    file = tmp_path / "relayer.yaml"
    settings = {
        "redis": {"url": url_of(store)},
        "pocket_node": {"query_node_rpc_url": "http://h:1", "query_node_grpc_url": "h:1"},
        "services": {"svc1": {"backends": {"jsonrpc": {"url": "http://h:1"}}}},
        "keys": {"keys_file": "k"},
        "listen_addr": "127.0.0.1:1",
        "relay_meter": {"redis_key_prefix": "mk"},
    }
    file.write_text(yaml.safe_dump(settings))
    assert [row["session"] for row in read(store, "--config", file, "meter")] == [SID]
    assert read(store, "meter") == []


def test_messages_are_printed_with_number_channel_and_payload_until_ctrl_c(store: Store) -> None:
    channels = (KEYS.blocks_channel(), KEYS.meter_cleanup_channel())

    def talk(screen: Screen) -> None:
        wait_until(lambda: store.client.pubsub_numsub(*channels) == [(name.encode(), 1) for name in channels])
        store.client.publish(channels[0], b'{"height":7}')
        store.client.publish(channels[1], b"a\xff\n|b")
        screen.wait_for("#2")

    words = ["redis-debug", "--redis", url_of(store), "pubsub"]
    words += [word for channel in channels for word in ("--channel", channel)]
    shown, code = run_until_ctrl_c(words, talk)
    first, second, last = shown.splitlines()
    assert code == 0 and first.endswith(f' #1 {channels[0]} {{"height":7}}')
    assert second.endswith(" #2 ha:meter:cleanup a\\xff\\n|b") and last == "2 message(s)"


def test_listening_ends_by_itself_and_prints_json_lines(store: Store) -> None:
    done = threading.Event()

    def talk() -> None:
        while not done.wait(0.02):
            store.client.publish("news", "x")

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        result = debug(store, "pubsub", "--channel", "news", "--duration", 0.3, "--json")
    finally:
        done.set()
        talker.join()
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0 and rows
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert {(row["channel"], row["payload"]) for row in rows} == {("news", "x")}


OPTIONS = {"smst": ["--session", "x"], "cache": ["--type", "account", "--list"], "flush": ["--all"]}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "pubsub"])
def test_a_store_that_is_away_is_one_line_and_an_error(name: str) -> None:
    words = ["redis-debug", "--redis", "redis://127.0.0.1:1/0", name, *OPTIONS.get(name, [])]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("Error: store is unavailable") and result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_a_key_of_another_type_is_one_line_and_an_error_at_most(store: Store, name: str) -> None:
    for key in (
        *(KEYS.relay_stream(SUPPLIER), KEYS.sessions(SUPPLIER), KEYS.lease(SUPPLIER), KEYS.nodes()),
        *(KEYS.supplier(SUPPLIER), KEYS.session(SUPPLIER, "x"), KEYS.known("suppliers"), KEYS.dead(SUPPLIER)),
        *(KEYS.submission(SUPPLIER, 1, "x"), KEYS.meter_meta("x", SUPPLIER), KEYS.account("x")),
        *(KEYS.reference_session_index(SUPPLIER), KEYS.beat_lease().lease),
    ):
        store.client.rpush(key, "no such type")
        store.client.set(key.encode() + b"\xff\n", "no text")
        store.client.set(key.encode().replace(SUPPLIER.encode(), b"\xfe"), "no text either", nx=True)
    options = ["--channel", "x", "--duration", "0.01"] if name == "pubsub" else OPTIONS.get(name, [])
    result = debug(store, name, *options)
    assert result.exit_code in (0, 1)
    assert os.linesep not in result.stderr.strip() or name == "flush"
