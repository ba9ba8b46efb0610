"""The main job, whole: two sessions of relays over two services and two suppliers, from nothing to paid."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.integration.processes import COMMAND, free_port_flags

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
RELAYS = 520


def test_the_main_job_ends_with_books_that_close(tmp_path: Path) -> None:
    arguments = (
        "demo",
        "--json",
        "--relays",
        str(RELAYS),
        "--block-time",
        "0.75",
        "--dir",
        str(tmp_path / "run"),
    )
    result = subprocess.run(
        [*COMMAND, *arguments, *free_port_flags()], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    ledger = json.loads(result.stdout)
    assert ledger["ok"] and ledger["problems"] == [] and ledger["restarts"] == {}
    totals = ledger["totals"]
    assert totals["answered"] == totals["wal"] == totals["leaves"] == totals["num_relays"] == RELAYS
    assert totals["claimed_upokt"] == totals["settled_upokt"] > 0
    sessions = ledger["sessions"]
    assert len(sessions) == 8, "two suppliers, two services, two sessions"
    assert {row["session_end"] for row in sessions} == {
        min(row["session_end"] for row in sessions) + n for n in (0, 10)
    }
    by_service = {(row["service_id"], row["proof_required"], row["proved"]) for row in sessions}
    assert by_service == {("develop-http", True, True), ("develop-rest", False, False)}
    assert len(ledger["balances"]) == 2
    for balance in ledger["balances"]:
        assert balance["earned_upokt"] > 0 and balance["proof_fees_upokt"] == 2_000_000
        assert 0 < balance["gas_upokt"] < 100
    assert not (tmp_path / "run" / "run.json").exists()
