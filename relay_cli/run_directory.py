"""The directory of one `up`: configuration, keys, data, logs, and the file that says where everything listens.

run.json          written when all is ready, removed at the end; what `relay --localnet` and `demo` read
up.lock           held by the running supervisor; its content is the supervisor's process id
logs/NAME.log     one per process
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pocket_protocol.errors import Refused

DEFAULT_DIRECTORY = ".localrun"
LOCK_NAME = "up.lock"
RUN_NAME = "run.json"


class AlreadyRunning(Refused):
    """Another supervisor holds the directory."""

    reason = "already_running"
    summary = "something runs in this directory already"


class NotRunning(Refused):
    """No supervisor has written its addresses into the directory."""

    reason = "not_running"
    summary = "nothing runs in this directory"


@dataclass(frozen=True, slots=True)
class Run:
    """Where a running `up` listens, and its files. Addresses are host:port, URLs have their scheme."""

    grpc_address: str
    rpc_url: str
    admin_url: str
    relayer_url: str
    relayer_health_url: str
    relayer_metrics_url: str
    miner_metrics_url: str
    flower_url: str
    backend_url: str
    store_url: str
    broker_url: str
    chain_id: str
    relayer_config: str
    miner_config: str
    client_keys: str

    @property
    def client_keys_file(self) -> Path:
        return Path(self.client_keys)


def write_run(directory: Path, run: Run) -> None:
    """Say where everything listens."""
    path = directory / RUN_NAME
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(asdict(run), indent=2) + "\n")
    partial.replace(path)


def remove_run(directory: Path) -> None:
    (directory / RUN_NAME).unlink(missing_ok=True)


def read_run(directory: Path) -> Run:
    """Return what a running `up` wrote. Raises `NotRunning`."""
    try:
        return Run(**json.loads((directory / RUN_NAME).read_text()))
    except (OSError, ValueError, TypeError):
        raise NotRunning(f"nothing runs in {directory}: start `pocket-relay-miner up` first") from None


@contextlib.contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Hold the directory; the kernel lets go of it when the holder dies. Raises `AlreadyRunning`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            raise AlreadyRunning(
                f"{directory} is in use by process {holder}: stop it, or choose another --dir"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        remove_run(directory)
        yield
    finally:
        os.close(descriptor)
