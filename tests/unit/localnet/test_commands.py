"""The two commands as processes: ready line, clean stop, and errors that name the flag."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from localnet.backend_command import backend
from localnet.command import localnet

ANYWHERE = ["--grpc", "127.0.0.1:0", "--rpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"]


@contextmanager
def process(module: str, function: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    code = f"from {module} import {function}; {function}()"
    running = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait(10)
        for stream in (running.stdout, running.stderr):
            assert stream is not None
            stream.close()


def first_line(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline()


def test_localnet_runs_and_stops() -> None:
    with process("localnet.command", "localnet", "--block-time", "0.05", *ANYWHERE) as running:
        line = first_line(running)
        found = re.fullmatch(r"localnet ready: grpc (\S+) rpc (http://\S+) admin (http://\S+)\n", line)
        assert found is not None, line
        with urllib.request.urlopen(f"{found[2]}/status", timeout=5) as response:
            assert b'"network":"pocket"' in response.read()
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0


def test_backend_runs_and_stops() -> None:
    with process("localnet.backend_command", "backend", "--listen", "127.0.0.1:0", "--id", "b7") as running:
        found = re.fullmatch(r"backend ready: (http://\S+)\n", first_line(running))
        assert found is not None
        with urllib.request.urlopen(f"{found[1]}/rest/x", timeout=5) as response:
            assert b'"backend_id":"b7"' in response.read()
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0


def test_a_taken_port_names_its_flag() -> None:
    with process("localnet.command", "localnet", "--block-time", "0", *ANYWHERE) as running:
        addresses = re.findall(r"127\.0\.0\.1:\d+", first_line(running))
        for flag, address in zip(("--grpc", "--rpc", "--admin"), addresses, strict=True):
            result = CliRunner().invoke(localnet, [*ANYWHERE, flag, address])
            assert result.exit_code == 1
            assert f"choose another with {flag}" in result.output
        result = CliRunner().invoke(backend, ["--listen", addresses[1]])
        assert "choose another with --listen" in result.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--genesis", "missing.yaml"], "missing.yaml"),
        (["--rpc", "nowhere"], "'nowhere' is not host:port"),
        (["--block-time", "-1"], "--block-time"),
    ],
)
def test_wrong_arguments(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(localnet, [*ANYWHERE, *arguments])
    assert result.exit_code != 0
    assert text in result.output


def test_backend_settings_that_mean_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("error_rates: 1")
    result = CliRunner().invoke(backend, ["--listen", "127.0.0.1:0", "--config", str(path)])
    assert result.exit_code == 1
    assert "error_rates" in result.output


def test_genesis_is_written(tmp_path: Path) -> None:
    result = CliRunner().invoke(localnet, ["--write-genesis", str(tmp_path / "new")])
    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "client-keys.yaml",
        "genesis.yaml",
        "supplier-keys.yaml",
    ]


def test_help_teaches() -> None:
    for command in (localnet, backend):
        text = CliRunner().invoke(command, ["--help"]).output
        assert "A first try:" in text
