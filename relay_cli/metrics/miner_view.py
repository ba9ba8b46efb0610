"""What of a miner node's metrics an operator looks at first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from relay_cli.metrics.view import Reading, Section

MINER = "ha_miner"
HEALTH = {0: "CRITICAL", 1: "warning", 2: "healthy"}


def miner_sections(reading: Reading) -> Iterator[Section]:
    """Yield the tables of a miner node."""
    yield Section("Miner", [_state(reading)])
    yield Section("From streams to trees", _streams(reading))
    yield Section("Entries that became no leaf", _rejected(reading))
    yield Section("Sessions, by the state they came into", _states(reading))
    yield Section("Claims and proofs", _claims(reading))
    yield Section("Refused or not sent", _errors(reading))
    yield Section("After the window opened, blocks", _blocks(reading))
    yield Section("uPOKT", _money(reading))
    yield Section("Balances", _balances(reading))
    yield Section("Tasks, ms", _tasks(reading))


def _state(reading: Reading) -> dict[str, Any]:
    interval = reading.whole.gauge(f"{MINER}_current_block_interval_seconds")
    return {
        "height": reading.number(f"{MINER}_current_block_height"),
        "block_s": "" if interval is None else round(interval, 1),
        "blocks": "STALLED" if reading.number(f"{MINER}_blocks_stalled") else "heard",
        "ticks": "yes" if reading.number(f"{MINER}_leader_status") else "no",
        "suppliers": reading.number(f"{MINER}_supplier_manager_suppliers_active"),
        "fair_share": reading.number(f"{MINER}_supplier_fair_share"),
        "keys": reading.number("ha_keys_supplier_keys_active"),
        "store": reading.memory(MINER),
    }


def _streams(reading: Reading) -> list[dict[str, Any]]:
    columns = {
        "waiting": f"{MINER}_consumer_lag",
        "settled": f"{MINER}_relays_consumed_from_stream_total",
        "leaves": f"{MINER}_relays_added_to_smst_total",
        "no_leaf": f"{MINER}_relays_rejected_total",
        "leases_taken": f"{MINER}_supplier_claimed_total",
    }
    return reading.counts(columns, "supplier", rate_of="settled")


def _rejected(reading: Reading) -> list[dict[str, Any]]:
    return reading.counts({"entries": f"{MINER}_relays_rejected_total"}, "supplier", "reason")


def _states(reading: Reading) -> list[dict[str, Any]]:
    rows = reading.counts({"sessions": f"{MINER}_session_state_transitions_total"}, "to_state")
    failed = reading.counts({"sessions": f"{MINER}_sessions_failed_total"}, "reason")
    return [
        *({"state": row["to_state"], "sessions": row["sessions"]} for row in rows),
        *({"state": f"unpaid: {row['reason']}", "sessions": row["sessions"]} for row in failed),
    ]


def _claims(reading: Reading) -> list[dict[str, Any]]:
    columns: dict[str, str | tuple[str, ...]] = {
        "claims": f"{MINER}_claims_submitted_total",
        "skipped": f"{MINER}_claims_skipped_total",
        "claims_resent": f"{MINER}_claim_rebroadcasts_total",
        "proofs_required": f"{MINER}_proof_requirement_required_total",
        "proofs": f"{MINER}_proofs_submitted_total",
        "proofs_resent": f"{MINER}_proof_rebroadcasts_total",
        "errors": (f"{MINER}_claim_errors_total", f"{MINER}_proof_errors_total"),
        "settled": f"{MINER}_claims_settled_by_status_total",
        "expired": f"{MINER}_claims_expired_by_reason_total",
        "slashed": f"{MINER}_supplier_slashed_total",
    }
    return reading.counts(columns, "supplier")


def _errors(reading: Reading) -> list[dict[str, Any]]:
    rows = []
    for phase in ("claim", "proof"):
        columns = {"times": f"{MINER}_{phase}_errors_total"}
        rows += [{"phase": phase, **row} for row in reading.counts(columns, "supplier", "reason")]
    unpaid = reading.counts({"times": "ha_tx_insufficient_balance_errors_total"}, "supplier")
    rows += [
        {"phase": "any", "supplier": row["supplier"], "reason": "fee cannot be paid", "times": row["times"]}
        for row in unpaid
    ]
    return [row for row in rows if row["times"]]


def _blocks(reading: Reading) -> list[dict[str, Any]]:
    names = {
        "claim seen": f"{MINER}_claim_submission_latency_blocks",
        "proof seen": f"{MINER}_proof_submission_latency_blocks",
        "settled after the session's end": f"{MINER}_settlement_latency_blocks",
    }
    return reading.spread(names, whole=True)


def _money(reading: Reading) -> list[dict[str, Any]]:
    columns = {
        "claimed": f"{MINER}_upokt_claimed_total",
        "earned": f"{MINER}_upokt_earned_total",
        "cut": f"{MINER}_upokt_cut_total",
        "expired": f"{MINER}_upokt_expired_by_reason_total",
        "lost": f"{MINER}_upokt_lost_total",
    }
    return reading.counts(columns, "supplier")


def _balances(reading: Reading) -> list[dict[str, Any]]:
    columns = {
        "balance_upokt": f"{MINER}_supplier_balance_upokt",
        "stake_upokt": f"{MINER}_supplier_stake_upokt",
    }
    health = reading.whole.by(f"{MINER}_supplier_balance_health_status", "supplier")
    ratio = reading.whole.by(f"{MINER}_supplier_stake_health_ratio", "supplier")
    return [
        {
            **row,
            "balance": HEALTH.get(round(health.get((row["supplier"],), -1)), ""),
            "penalties_survived": round(ratio.get((row["supplier"],), 0)),
        }
        for row in reading.counts(columns, "supplier")
    ]


def _tasks(reading: Reading) -> list[dict[str, Any]]:
    failures = reading.whole.by(f"{MINER}_task_failures_total", "task")
    return [
        {**row, "failures": round(failures.get((row["task"],), 0))}
        for row in reading.spread({"time": f"{MINER}_task_seconds"}, "task", scale=1000.0)
    ]
