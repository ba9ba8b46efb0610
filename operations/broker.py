"""The broker as Celery's library names it (spec/miner.md §6.5 for our URL forms).

Every process that sends or takes tasks uses these settings, so that all of them meet at the same queues. Over TLS the
broker is verified like the data store: kombu by itself believes any server when no TLS option is given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

from operations.sections import RedisSection, SharedExtensions, broker_url

SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker URL for kombu and the transport options that belong to it. URLs may hold a password.

    `redis_url` is the same server for a plain Redis client; "" when only kombu can find it (Sentinel).
    """

    url: str = field(repr=False)
    options: dict[str, Any]
    redis_url: str = field(default="", repr=False)

    @property
    def prefix(self) -> str:
        """What stands before every key of the broker."""
        return str(self.options["global_keyprefix"])


def broker_of(redis: RedisSection, extensions: SharedExtensions) -> Broker:
    """Return the broker of a configuration: the configured one, else the data store's next database."""
    url = broker_url(redis, extensions)
    options: dict[str, Any] = {"global_keyprefix": extensions.broker_prefix}
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return Broker(
            urlunsplit(parts._replace(scheme="redis+socket")).replace("db=", "virtual_host="), options, url
        )
    if parts.scheme.endswith("-sentinel"):
        return _sentinel(url, options)
    if parts.scheme == "rediss":
        url = urlunsplit(parts._replace(query=urlencode(_tls(parts.query))))
    return Broker(url, options, url if parts.scheme in ("redis", "rediss") else "")


def _tls(query: str) -> dict[str, str]:
    """Return the TLS options of a URL, verification among them."""
    given = {name: value for name, value in parse_qsl(query) if name.startswith("ssl_")}
    return {"ssl_cert_reqs": "required", **given}


def _sentinel(url: str, options: dict[str, Any]) -> Broker:
    """Turn redis[s]-sentinel://[user:pass@]h1,h2/master?db=n into kombu's list of sentinel URLs."""
    parts = urlsplit(url)
    access, _, hosts = parts.netloc.rpartition("@")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    database = query.get("db", "0")
    prefix = f"{access}@" if access else ""
    tls = _tls(parts.query) if parts.scheme.startswith("rediss") else {}
    suffix = f"?{urlencode(tls)}" if tls else ""
    urls = [
        f"sentinel://{prefix}{host if ':' in host else f'{host}:{SENTINEL_PORT}'}/{database}{suffix}"
        for host in hosts.split(",")
    ]
    options["master_name"] = parts.path.strip("/")
    sentinel: dict[str, Any] = {
        name: query[f"sentinel_{name}"] for name in ("username", "password") if f"sentinel_{name}" in query
    }
    if tls:  # kombu leaves the connections to the Sentinels themselves without
        sentinel |= {"ssl": True, **tls, "ssl_check_hostname": tls.get("ssl_check_hostname") != "false"}
    if sentinel:
        options["sentinel_kwargs"] = sentinel
    return Broker(";".join(urls), options)
