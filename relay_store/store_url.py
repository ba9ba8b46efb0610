"""Store URLs: standalone, TLS, Unix socket, Sentinel and Cluster (spec/miner.md §6.5).

redis://[user:pw@]host:port/db            rediss://…  the same over TLS
unix://[user:pw@]/path/to/socket?db=N
redis-sentinel://[user:pw@]h1:p,h2:p/master?db=N[&sentinel_password=…][&sentinel_username=…]
redis-cluster://[user:pw@]h1:p,h2:p       rediss-sentinel:// and rediss-cluster:// over TLS

Over TLS the server must show a certificate for its name that the system trusts, or the authority in ssl_ca_certs=FILE;
ssl_certfile and ssl_keyfile are our own certificate. Less is wanted with ssl_check_hostname=false (servers that are
announced by address) or ssl_cert_reqs=none. With rediss-sentinel:// the Sentinels are reached over TLS too.
Characters of a name or password that mean something in a URL are percent-encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote

from relay_store.store_errors import StoreUrlInvalid

DEFAULT_PORT: Final = 6379
DEFAULT_SENTINEL_PORT: Final = 26379
Topology = Literal["standalone", "unix", "sentinel", "cluster"]
_SCHEMES: Final[dict[str, tuple[Topology, bool]]] = {
    "redis": ("standalone", False),
    "rediss": ("standalone", True),
    "unix": ("unix", False),
    "redis-sentinel": ("sentinel", False),
    "rediss-sentinel": ("sentinel", True),
    "redis-cluster": ("cluster", False),
    "rediss-cluster": ("cluster", True),
}
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS_OPTIONS: Final = (*_TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_CERTIFICATE_RULES: Final = ("required", "optional", "none")
_OPTIONS: Final = ("db", "sentinel_username", "sentinel_password", *_TLS_OPTIONS)


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """The parts of a store URL. Passwords never show in its repr."""

    topology: Topology
    tls: bool
    hosts: tuple[tuple[str, int], ...]  # empty for a Unix socket
    path: str  # of the Unix socket, else ""
    master: str  # Sentinel's name of the master, else ""
    db: int
    username: str | None
    password: str | None = field(repr=False)
    sentinel_username: str | None
    sentinel_password: str | None = field(repr=False)
    tls_options: tuple[tuple[str, str | bool], ...] = ()

    def __str__(self) -> str:
        where = self.path or ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"{self.topology}://{where}" + (f"/{self.master}" if self.master else f"/{self.db}")


def parse_store_url(url: str) -> StoreUrl:
    """Read a store URL. Raises `StoreUrlInvalid`."""
    scheme, mark, rest = url.strip().partition("://")
    if not mark or scheme not in _SCHEMES:
        raise StoreUrlInvalid("unknown scheme", known=", ".join(_SCHEMES))
    topology, tls = _SCHEMES[scheme]
    rest, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise StoreUrlInvalid("unknown options", options=", ".join(unknown))
    credentials, mark, location = rest.rpartition("@")
    username, _, password = credentials.partition(":") if mark else ("", "", "")
    hosts_text, slash, path = location.partition("/")
    hosts: tuple[tuple[str, int], ...] = ()
    if topology != "unix":
        default_port = DEFAULT_SENTINEL_PORT if topology == "sentinel" else DEFAULT_PORT
        hosts = tuple(_host(text, default_port) for text in hosts_text.split(","))
    parsed = StoreUrl(
        topology=topology,
        tls=tls,
        hosts=hosts,
        path=unquote(slash + path) if topology == "unix" else "",
        master=unquote(path) if topology == "sentinel" else "",
        db=_db(options.get("db", path if topology == "standalone" else "")),
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls_options=_tls_options(options, tls),
    )
    _check(parsed)
    return parsed


def _tls_options(options: Mapping[str, str], tls: bool) -> tuple[tuple[str, str | bool], ...]:
    given = {name: options[name] for name in _TLS_OPTIONS if name in options}
    if given and not tls:
        raise StoreUrlInvalid("TLS options need rediss://", options=", ".join(given))
    if given.get("ssl_cert_reqs", "required") not in _CERTIFICATE_RULES:
        raise StoreUrlInvalid("ssl_cert_reqs is required, optional or none")
    if given.get("ssl_check_hostname", "true") not in ("true", "false"):
        raise StoreUrlInvalid("ssl_check_hostname is true or false")
    return tuple(
        (name, value == "true" if name == "ssl_check_hostname" else value) for name, value in given.items()
    )


def _check(url: StoreUrl) -> None:
    if url.topology == "unix" and len(url.path) < 2:
        raise StoreUrlInvalid("no socket path")
    if url.topology == "sentinel" and (not url.master or "/" in url.master):
        raise StoreUrlInvalid("a Sentinel URL ends with /<master name>")
    if url.topology == "standalone" and len(url.hosts) != 1:
        raise StoreUrlInvalid("one host, or a Sentinel or Cluster URL")
    if url.topology == "cluster" and url.db:
        raise StoreUrlInvalid("a Cluster has only database 0", db=url.db)


def _host(text: str, default_port: int) -> tuple[str, int]:
    if text.startswith("["):  # IPv6
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if not port:
        port = str(default_port)
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise StoreUrlInvalid("host:port expected", position=text.count(":"))
    return unquote(host), int(port)


def _db(text: str) -> int:
    text = text.strip("/")
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise StoreUrlInvalid("database is not a number")
    return int(text)
