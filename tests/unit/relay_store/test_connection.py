from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as LostConnection

from pocket_protocol.errors import Unavailable
from relay_store.connection import Store, connect
from relay_store.probe import OLDEST_VERSION, MemoryUse, memory_use, probe
from relay_store.store_errors import (
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    StoreUrlInvalid,
    store_errors,
)
from relay_store.store_url import parse_store_url
from tests.stores import kill_server, private_server


def test_urls_of_every_topology_are_read() -> None:
    plain = parse_store_url("redis://u:p%40w@h:7000/3")
    assert (plain.hosts, plain.db, plain.username, plain.password) == ((("h", 7000),), 3, "u", "p@w")
    assert parse_store_url("rediss://h").tls and parse_store_url("redis://h").hosts == (("h", 6379),)
    assert parse_store_url("redis://h?db=4").db == 4
    assert parse_store_url("redis://[::1]:7/0").hosts == (("::1", 7),)
    assert parse_store_url("unix:///run/s.sock?db=2").path == "/run/s.sock"
    sentinel = parse_store_url("redis-sentinel://:pw@a:1,b/main?db=2&sentinel_password=x")
    assert (sentinel.hosts, sentinel.master, sentinel.db) == ((("a", 1), ("b", 26379)), "main", 2)
    assert (sentinel.password, sentinel.sentinel_password) == ("pw", "x")
    assert parse_store_url("redis-cluster://a:1,b:2").hosts == (("a", 1), ("b", 2))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://h",
        "redis://",
        "redis://h:port",
        "redis://h:0",
        "redis://h/x",
        "redis://a,b",
        "redis://h?socket_tmeout=1",
        "unix://",
        "redis-sentinel://a:1",
        "redis-cluster://a:1?db=1",
    ],
)
def test_unusable_urls_are_refused(url: str) -> None:
    with pytest.raises(StoreUrlInvalid):
        connect(url)


def test_passwords_do_not_show(store_server: object) -> None:
    opened = connect("redis://user:s3cret@h:1/0")
    assert "s3cret" not in repr(opened) + repr(opened.url) + str(opened.url)
    with pytest.raises(StoreUrlInvalid) as refused:
        connect("redis://:s3cret@h:bad/0")
    assert "s3cret" not in str(refused.value)


def test_nothing_listening_is_unavailable_and_bounded() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(Unavailable):
            connect(f"redis://127.0.0.1:{port}").ping()
        with pytest.raises(Unavailable):
            connect(f"redis-cluster://127.0.0.1:{port}")
        with pytest.raises(Unavailable):
            connect(f"redis-sentinel://127.0.0.1:{port}/main").ping()
        assert time.monotonic() - started < 3


def test_a_silent_server_is_unavailable_within_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = connect(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.ping()
        assert time.monotonic() - started < 2


def test_errors_become_leaves(store: Store) -> None:
    store.client.set("text", "x")
    with pytest.raises(StoreRefused), store_errors():
        store.client.hget("text", "field")
    with pytest.raises(StoreUnavailable), store_errors():
        raise LostConnection("gone")


def test_a_user_without_permission_is_told_so(store: Store) -> None:
    store.client.acl_setuser("reader", enabled=True, nopass=True, keys="*", commands=["+ping", "+client"])
    host, port = store.url.hosts[0]
    reader = connect(f"redis://reader:x@{host}:{port}/0")
    with pytest.raises(StoreRefused) as refused, store_errors():
        reader.client.get("k")
    reader.close()
    store.client.acl_deluser("reader")
    assert refused.value.code == "NOPERM"


def test_a_restarted_server_is_found_again(tmp_path: Path) -> None:
    with private_server(tmp_path, appendonly="yes") as server:
        store = connect(server.connection_url)
        store.client.set("k", "v")
        with store.fenced_connection("k") as connection:
            connection.send_command("PING")
            assert connection.read_response() == b"PONG"
        kill_server(server)
        with pytest.raises(StoreUnavailable):
            store.ping()
        with private_server(tmp_path, port=server.port, appendonly="yes"):
            assert store.client.get("k") == b"v"
            with store.fenced_connection("k") as connection:
                connection.send_command("PING")
                assert connection.read_response() == b"PONG"


def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with private_server(tmp_path, unixsocket=str(path)):
        store = connect(f"unix://{path}")
        store.ping()
        with store.fenced_connection("k") as connection:
            connection.send_command("PING")
            assert connection.read_response() == b"PONG"


def test_probe_names_what_is_unsafe(store: Store, tmp_path: Path) -> None:
    report = probe(store)
    info = store.client.info("server")
    assert report.server == " ".join(
        ("valkey", info["valkey_version"]) if "valkey_version" in info else ("redis", info["redis_version"])
    )
    assert report.version >= OLDEST_VERSION
    # Redis has XACKDEL from 8.2 on, Valkey 9 has not; WAITAOF came with Redis 7.2 and with the first Valkey.
    is_redis = report.server.startswith("redis")
    assert ("XACKDEL" in report.commands) == (is_redis and report.version >= (8, 2))
    assert ("WAITAOF" in report.commands) == (not is_redis or report.version >= (7, 2))
    text = "\n".join(report.warnings)
    assert "maxmemory is not set" in text and "appendonly is off" in text
    safe = {"maxmemory": "100mb", "maxmemory-policy": "noeviction", "appendonly": "yes"}
    with private_server(tmp_path, **safe) as server:
        report = probe(connect(server.connection_url))
        assert (report.warnings, report.aof, report.replicas) == ((), True, 0)
        evicting = connect(server.connection_url)
        evicting.client.config_set("maxmemory-policy", "allkeys-lru")
        assert "allkeys-lru" in probe(evicting).warnings[0]


def test_memory_head_room(tmp_path: Path) -> None:
    assert MemoryUse(84, 100).admits and not MemoryUse(85, 100).admits and MemoryUse(10**12, 0).admits
    with private_server(tmp_path, maxmemory="20mb", **{"maxmemory-policy": "noeviction"}) as server:
        store = connect(server.connection_url)
        assert memory_use(store).admits
        with pytest.raises(StoreFull), store_errors():
            for number in range(1000):
                store.client.set(f"k{number}", os.urandom(100_000))
        assert not memory_use(store).admits
