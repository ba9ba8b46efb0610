"""Connections to the store: one client for ordinary commands, and the way to the node of a key.

RESP2 everywhere, every wait bounded, and no automatic retry: a command whose connection broke has an
unknown outcome, and only its caller knows whether it may be repeated (decisions.md B0, D6). A dead idle
connection is found and replaced before a command is sent on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import BlockingConnectionPool, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisClusterException, RedisError
from redis.retry import Retry
from redis.sentinel import Sentinel

from relay_store.fenced_connection import FencedConnections
from relay_store.master_connection import MasterConnection, MasterTlsConnection
from relay_store.store_errors import StoreUnavailable, store_errors
from relay_store.store_url import StoreUrl, parse_store_url

DEFAULT_POOL_SIZE: Final = 50
DEFAULT_TIMEOUT_S: Final = 5.0
DEFAULT_CONNECT_TIMEOUT_S: Final = 1.0
DEFAULT_POOL_WAIT_S: Final = 4.0
PROTOCOL: Final = 2


def no_retry() -> Retry:
    """Return the retry policy of every connection: none."""
    return Retry(NoBackoff(), 0)


class Store:
    """One Redis or Valkey deployment. Made by `connect`; safe to share between threads, reopened after fork.

    `client` takes ordinary commands and raises the client library's errors: wrap calls in
    `store_errors()`. On a Cluster, several keys in one command must share a hash tag.
    """

    def __init__(self, url: StoreUrl, client: Any) -> None:
        self.url = url
        self.client = client
        self._fenced = FencedConnections()

    def __repr__(self) -> str:
        return f"<Store {self.url}>"

    @property
    def is_cluster(self) -> bool:
        return self.url.topology == "cluster"

    def node(self, key: str) -> Any:
        """Return the plain client of the master that owns `key` (on a Cluster; elsewhere `client`)."""
        if not self.is_cluster:
            return self.client
        with store_errors():
            return self.client.get_redis_connection(self.client.get_node_from_key(key))

    def pool_of(self, key: str) -> Any:
        """Return the connection pool of the master that owns `key`."""
        return self.node(key).connection_pool

    def masters(self) -> list[Any]:
        """Return the plain clients of all masters; one, except on a Cluster."""
        if not self.is_cluster:
            return [self.client]
        with store_errors():
            return [self.client.get_redis_connection(node) for node in self.client.get_primaries()]

    @contextmanager
    def fenced_connection(self, key: str) -> Iterator[Any]:
        """Lend a connection to the master of `key` that never reconnects while it watches (decisions.md B0).

        Errors are told as by `answers`. After any error the connection is not used again.
        """
        with self.answers(), self._fenced.lend(self.pool_of(key)) as connection:
            yield connection

    @contextmanager
    def answers(self) -> Iterator[None]:
        """As `store_errors`, around calls to a `node`: one that has lost its keys is found anew next time."""
        try:
            with store_errors():
                yield
        except StoreUnavailable:
            self.refresh_topology()
            raise

    def refresh_topology(self) -> None:
        """On a Cluster: read the map of slots again. Does nothing elsewhere or when no node answers."""
        if not self.is_cluster:
            return
        try:
            self.client.nodes_manager.initialize()
        except (RedisError, RedisClusterException):
            return

    def ping(self) -> None:
        """Ask every master for a sign of life. Raises `StoreUnavailable`."""
        with store_errors():
            for master in self.masters():
                master.ping()

    def close(self) -> None:
        """Close all connections of this process."""
        self._fenced.close()
        self.client.close()


def connect(
    url: str,
    *,
    pool_size: int = DEFAULT_POOL_SIZE,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
    pool_wait_s: float = DEFAULT_POOL_WAIT_S,
    client_name: str = "",
) -> Store:
    """Return the store a URL names (see `store_url`); connects on first use, except to a Cluster.

    `timeout_s` bounds each reply, `pool_wait_s` the wait for a free connection of the `pool_size`.
    Raises `StoreUrlInvalid`, and `StoreUnavailable` when no Cluster node answers.
    """
    parsed = parse_store_url(url)
    options: dict[str, Any] = {
        "protocol": PROTOCOL,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": connect_timeout_s,
        "socket_keepalive": True,
        "username": parsed.username,
        "password": parsed.password,
        "client_name": client_name or None,
    }
    with store_errors():
        if parsed.topology == "cluster":
            return Store(parsed, _cluster(parsed, options, pool_size))
        if parsed.topology == "sentinel":
            return Store(parsed, _sentinel(parsed, options, pool_size))
        return Store(parsed, _standalone(parsed, options, pool_size, pool_wait_s))


def _standalone(url: StoreUrl, options: dict[str, Any], pool_size: int, pool_wait_s: float) -> Any:
    if url.topology == "unix":
        options.pop("socket_keepalive")
        where: dict[str, Any] = {"connection_class": UnixDomainSocketConnection, "path": url.path}
    else:
        (host, port), *_ = url.hosts
        connection_class = SSLConnection if url.tls else Connection
        where = {"connection_class": connection_class, "host": host, "port": port, **dict(url.tls_options)}
    make_pool: Any = BlockingConnectionPool
    pool = make_pool(
        max_connections=pool_size, timeout=pool_wait_s, retry=no_retry(), db=url.db, **where, **options
    )
    return redis.Redis(connection_pool=pool)


def _sentinel(url: StoreUrl, options: dict[str, Any], pool_size: int) -> Any:
    bounds = {name: options[name] for name in ("socket_timeout", "socket_connect_timeout", "protocol")}
    access = {"username": url.sentinel_username, "password": url.sentinel_password}
    tls = {"ssl": True, **dict(url.tls_options)} if url.tls else {}
    make_sentinel: Any = Sentinel
    sentinel = make_sentinel(
        list(url.hosts), sentinel_kwargs={**bounds, **access, **tls, "retry": no_retry()}
    )
    kind = MasterTlsConnection if url.tls else MasterConnection
    return sentinel.master_for(
        url.master,
        max_connections=pool_size,
        retry=no_retry(),
        db=url.db,
        connection_class=kind,
        **dict(url.tls_options),
        **options,
    )


def _cluster(url: StoreUrl, options: dict[str, Any], pool_size: int) -> Any:
    tls = {"ssl": True, **dict(url.tls_options)} if url.tls else {}
    make_node: Any = ClusterNode
    make_client: Any = RedisCluster
    nodes = [make_node(host, port) for host, port in url.hosts]
    return make_client(startup_nodes=nodes, retry=no_retry(), max_connections=pool_size, **tls, **options)
