"""The metrics endpoint: a process of its own, so that a scrape never takes time from relays (decisions.md D9).

Every process of ours writes its numbers to files in one directory (`PROMETHEUS_MULTIPROC_DIR`, read by the client
library when it is first imported). This process reads them all. Order at start-up:

    prepare_directory(path)      the supervisor, before any other process starts
    with MetricsProcess(...)     the supervisor: this endpoint as a child process
    mark_process_dead(pid)       whoever sees a worker end
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError

from operations.setting import listen_address, split_address

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PROBE_TIMEOUT_S = 2.0
REQUEST_TIMEOUT_S = 10.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def prepare_directory(path: str | Path) -> Path:
    """Make the directory of metric files, empty it and name it in this process's environment.

    Call it before `prometheus_client` is imported anywhere in the process. Files of earlier runs would count
    their numbers again under a re-used process id.
    """
    directory = Path(path)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in directory.glob("*.db"):
        file.unlink(missing_ok=True)
    os.environ[DIRECTORY_VARIABLE] = str(directory)
    return directory


def mark_process_dead(process_id: int) -> None:
    """Forget the live gauges of a process that ended; its counters stay counted."""
    if os.environ.get(DIRECTORY_VARIABLE):
        from prometheus_client import multiprocess

        multiprocess.mark_process_dead(process_id)


def exposition(directory: str | Path) -> bytes:
    """Return the text of all metrics in `directory`."""
    from prometheus_client import CollectorRegistry, PlatformCollector, generate_latest, multiprocess

    from operations.process_metrics import ProcessesCollector

    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=str(directory))
    registry.register(ProcessesCollector(directory))
    PlatformCollector(registry)
    return generate_latest(registry)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = REQUEST_TIMEOUT_S

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, exposition(self.server.directory), "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/health":
            self._answer(200, b"OK")
        elif path == "/ready":
            reason = self.server.not_ready_reason()
            self._answer(503 if reason else 200, b"Not Ready" if reason else b"Ready")
        else:
            self._answer(404, b"not found")

    def _answer(self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Scrapes are not worth a line each."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: str, directory: str, probes: Sequence[str]) -> None:
        host, port = split_address(address)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.directory = directory
        self.probes = tuple(probes)
        super().__init__((host, port), _Handler)

    def not_ready_reason(self) -> str:
        """Ask each probe's URL; return the first that does not answer 2xx, "" when all do."""
        for url in self.probes:
            try:
                with _DIRECT.open(url, timeout=PROBE_TIMEOUT_S) as answer:
                    answer.read(1)
            except (URLError, OSError, ValueError):
                return url
        return ""


@contextlib.contextmanager
def serving(address: str, directory: str | Path, probes: Sequence[str] = ()) -> Iterator[int]:
    """Serve in a thread of this process; yields the port, for address `…:0` the one that was free."""
    server = _Server(listen_address(address), str(directory), probes)
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class MetricsProcess:
    """The endpoint as a child process; as a context manager it ends with the block.

    `address` is host:port. `probes` are URLs that must all answer 2xx for /ready. The child ends with its parent
    even when that is killed.
    """

    def __init__(self, address: str, directory: str | Path, probes: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "operations.metrics_server", address, str(directory), *probes]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise OSError(f"the metrics endpoint could not listen on {address}")
        self.port: int = json.loads(line)["port"]

    @property
    def process_id(self) -> int:
        return self._process.pid

    def is_running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End the process and wait for it."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()

    def __enter__(self) -> MetricsProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until standard input ends or SIGTERM comes; writes {"port": n} when it listens."""
    parser = argparse.ArgumentParser(prog="python -m operations.metrics_server")
    parser.add_argument("address", type=listen_address)
    parser.add_argument("directory")
    parser.add_argument("probes", nargs="*")
    parsed = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's, who closes our input
    try:
        with serving(parsed.address, parsed.directory, parsed.probes) as port:
            print(json.dumps({"port": port}), flush=True)
            while sys.stdin.buffer.read(4096):
                pass
    except OSError as error:
        print(f"metrics endpoint: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
