"""What the server is and whether it is set up to keep money safe; asked once at start.

Nothing here stops a start: each shortcoming is a warning an operator reads (`--strict` callers may refuse).
Sources: ecosystem.md §8, decisions.md E and F, spec/miner.md §6.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import RedisClusterException, RedisError, ResponseError

from relay_store.connection import Store
from relay_store.store_errors import store_errors

OLDEST_VERSION: Final = (6, 2)
NEWER_COMMANDS: Final = ("XACKDEL", "WAITAOF")
ADMISSION_LIMIT: Final = 0.85  # share of maxmemory at which admission stops (decisions.md D5)


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The answer of `probe`: what the servers can do, and warnings for the operator."""

    server: str  # "valkey 9.1.2", "redis 7.0.15"
    version: tuple[int, ...]
    commands: frozenset[str]  # those of NEWER_COMMANDS that every master has
    aof: bool
    replicas: int  # the fewest any master has
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory of the fullest master, in bytes; `limit` 0 means none is set."""

    used: int
    limit: int

    @property
    def share(self) -> float:
        """Used share of the limit, 0.0 when there is none."""
        return self.used / self.limit if self.limit else 0.0

    @property
    def admits(self) -> bool:
        """Whether new relays are still taken in (decisions.md D5)."""
        return self.share < ADMISSION_LIMIT


def memory_use(store: Store) -> MemoryUse:
    """Read the memory of the fullest master. Raises `StoreUnavailable`."""
    with store_errors():
        infos = [master.info("memory") for master in store.masters()]
    uses = [MemoryUse(int(info["used_memory"]), int(info.get("maxmemory", 0))) for info in infos]
    return max(uses, key=lambda use: (use.share, use.used))


def probe(store: Store) -> StoreReport:
    """Ask every master what it is. Raises `StoreUnavailable`."""
    with store_errors():
        reports = [_probe_master(master, store) for master in store.masters()]
    first = reports[0]
    return StoreReport(
        server=first.server,
        version=min(report.version for report in reports),
        commands=frozenset.intersection(*(report.commands for report in reports)),
        aof=all(report.aof for report in reports),
        replicas=min(report.replicas for report in reports),
        warnings=tuple(dict.fromkeys(text for report in reports for text in report.warnings)),
    )


def _probe_master(master: Any, store: Store) -> StoreReport:
    info = master.info()
    settings = _settings(master)
    name = "valkey" if info.get("server_name") == "valkey" or "valkey_version" in info else "redis"
    version_text = str(info.get("valkey_version") if name == "valkey" else info["redis_version"])
    version = tuple(int(part) for part in version_text.split(".") if part.isdigit())
    compatible = tuple(int(part) for part in str(info["redis_version"]).split(".") if part.isdigit())
    aof = bool(info.get("aof_enabled"))
    warnings = _warnings(compatible, info, settings, aof)
    if store.url.topology in ("sentinel", "cluster"):
        warnings += _replication_warnings(settings)
    return StoreReport(
        server=f"{name} {version_text}",
        version=version,
        commands=frozenset(_known_commands(master)),
        aof=aof,
        replicas=int(info.get("connected_slaves", 0)),
        warnings=tuple(warnings),
    )


def _settings(master: Any) -> dict[str, str]:
    """Return the server's configuration; empty where CONFIG is forbidden (managed services)."""
    try:
        return dict(master.config_get("*"))
    except (RedisError, RedisClusterException) as error:
        if isinstance(error, ResponseError):
            return {}
        raise


def _known_commands(master: Any) -> list[str]:
    replies = master.execute_command("COMMAND INFO", *NEWER_COMMANDS)
    return [name for name, reply in zip(NEWER_COMMANDS, replies, strict=True) if reply]


def _warnings(version: tuple[int, ...], info: Any, settings: dict[str, str], aof: bool) -> list[str]:
    found = []
    if version[:2] < OLDEST_VERSION:
        found.append(f"server {'.'.join(map(str, version))} is older than 6.2: not supported")
    policy = str(info.get("maxmemory_policy") or settings.get("maxmemory-policy", ""))
    if policy and policy != "noeviction":
        found.append(f"maxmemory-policy is {policy}: set noeviction, eviction destroys session trees")
    if int(info.get("maxmemory", 0)) == 0:
        found.append("maxmemory is not set: admission cannot stop before the server is out of memory")
    if not aof:
        found.append("appendonly is off: a restart of the server loses every unclaimed relay")
    elif settings.get("appendfsync") == "no":
        found.append("appendfsync is no: set everysec, a crash may lose many seconds of relays")
    elif settings.get("no-appendfsync-on-rewrite") == "yes":
        found.append(
            "no-appendfsync-on-rewrite is yes: set no, losing the machine during a rewrite loses more than a second, "
            "and claims are sent that are not on the disk"
        )
    return found


def _replication_warnings(settings: dict[str, str]) -> list[str]:
    wanted = {"min-replicas-to-write": 1, "min-replicas-max-lag": 5}
    if not settings:
        return ["min-replicas-to-write and min-replicas-max-lag cannot be read: set 1 and 5"]
    to_write = int(settings.get("min-replicas-to-write", "0"))
    lag = int(settings.get("min-replicas-max-lag", "10"))
    if to_write >= wanted["min-replicas-to-write"] and lag <= wanted["min-replicas-max-lag"]:
        return []
    return [
        f"min-replicas-to-write {to_write}, min-replicas-max-lag {lag}: set 1 and 5, "
        "or a failover loses acknowledged relays"
    ]
