"""The metrics endpoint as a real process reading what other real processes wrote."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from operations.metrics_server import DIRECTORY_VARIABLE, MetricsProcess, prepare_directory, serving

WRITER = """
import os
from prometheus_client import Counter, Gauge
Counter("relays", "relays").inc(2)
Gauge("busy", "busy", multiprocess_mode="livesum").set(1)
"""


def write_metrics(directory: Path) -> int:
    environment = {**os.environ, DIRECTORY_VARIABLE: str(directory)}
    process = subprocess.Popen([sys.executable, "-c", WRITER], env=environment)
    assert process.wait(30) == 0
    return process.pid


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_process_sums_what_others_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, "")
    (tmp_path / "counter_1.db").write_bytes(b"left over")
    directory = prepare_directory(tmp_path)
    assert list(directory.iterdir()) == [] and os.environ[DIRECTORY_VARIABLE] == str(directory)
    first, second = write_metrics(directory), write_metrics(directory)
    with MetricsProcess("127.0.0.1:0", directory) as endpoint:
        status, text = get(endpoint.port, "/metrics")
        assert status == 200 and "relays_total 4.0" in text and "busy 2.0" in text
        for pid in (first, second):
            code = f"from operations.metrics_server import mark_process_dead as d; d({pid})"
            subprocess.run(
                [sys.executable, "-c", code],
                env=os.environ | {DIRECTORY_VARIABLE: str(directory)},
                check=True,
            )
        text = get(endpoint.port, "/metrics")[1]
        assert "relays_total 4.0" in text and "busy" not in text
        assert get(endpoint.port, "/health") == (200, "OK")
        assert get(endpoint.port, "/ready") == (200, "Ready")
        assert get(endpoint.port, "/other")[0] == 404
        os.kill(endpoint.process_id, signal.SIGINT)
        assert get(endpoint.port, "/health") == (200, "OK")
    assert not endpoint.is_running()


def test_processes_are_shown_while_they_live(tmp_path: Path) -> None:
    code = WRITER + "print(flush=True); input()"
    environment = {**os.environ, DIRECTORY_VARIABLE: str(tmp_path)}
    writer = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdin and writer.stdout
    assert writer.stdout.readline()
    earlier = tmp_path / f"gauge_livesum_{os.getpid()}.db"  # of a process that had our id before us
    earlier.write_bytes((tmp_path / f"gauge_livesum_{writer.pid}.db").read_bytes())
    os.utime(earlier, (1, 1))
    with serving("127.0.0.1:0", tmp_path) as port:
        text = get(port, "/metrics")[1]
        for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
            values = [line.split()[1] for line in text.splitlines() if line.startswith(f'{name}{{pid="')]
            assert len(values) == 1 and float(values[0]) > 0
            assert f'{name}{{pid="{writer.pid}"}}' in text
        assert "python_info{" in text
        writer.communicate(b"\n", timeout=10)
        text = get(port, "/metrics")[1]
    assert "relays_total 2.0" in text and "process_" not in text


def test_ready_follows_the_probes(tmp_path: Path) -> None:
    with serving("127.0.0.1:0", tmp_path) as probed:
        url = f"http://127.0.0.1:{probed}/health"
        with serving("127.0.0.1:0", tmp_path, [url]) as port:
            assert get(port, "/ready") == (200, "Ready")
        with serving("127.0.0.1:0", tmp_path, [url, url + "/nothing"]) as port:
            assert get(port, "/ready") == (503, "Not Ready")


def test_an_occupied_port_is_an_error(tmp_path: Path) -> None:
    with serving("127.0.0.1:0", tmp_path) as port, pytest.raises(OSError, match="could not listen"):
        MetricsProcess(f"127.0.0.1:{port}", tmp_path)
