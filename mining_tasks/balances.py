"""Warnings before a supplier cannot pay its fees or its penalties (spec/miner.md §4.7)."""

from __future__ import annotations

import structlog

from mining_tasks.wiring import Miner
from pocket_chain.node_errors import EntityNotFound
from pocket_protocol.coin import upokt_of
from pocket_protocol.types import SupplierAddress

log = structlog.get_logger("balances")

CRITICAL, WARNING, HEALTHY = 0, 1, 2


def check_balance(supplier: SupplierAddress, miner: Miner) -> int:
    """Read balance and stake, set their gauges, warn; return the balance's health. Raises `NodeUnavailable`."""
    section, metrics = miner.config.balance_monitor, miner.metrics
    balance = miner.queries.balance(supplier)
    metrics.set("ha_miner_supplier_balance_upokt", balance, supplier)
    threshold = max(section.balance_threshold_upokt, miner.facts.proof_params().submission_fee_upokt)
    health = HEALTHY if balance >= 2 * threshold else WARNING if balance >= threshold else CRITICAL
    metrics.set("ha_miner_supplier_balance_health_status", health, supplier)
    if health == CRITICAL:
        metrics.count("ha_miner_supplier_balance_critical_alerts", supplier)
        log.error("balance is too low for fees", supplier=supplier, balance_upokt=balance)
    elif health == WARNING:
        metrics.count("ha_miner_supplier_balance_warning_alerts", supplier)
        log.warning("balance is getting low", supplier=supplier, balance_upokt=balance)
    _check_stake(supplier, miner)
    return health


def _check_stake(supplier: SupplierAddress, miner: Miner) -> None:
    """Count how many missing proofs the stake survives."""
    section, metrics = miner.config.balance_monitor, miner.metrics
    try:
        stake = upokt_of(miner.queries.supplier(supplier).stake)
    except EntityNotFound:
        return  # registration says so
    metrics.set("ha_miner_supplier_stake_upokt", stake, supplier)
    penalty = miner.facts.proof_params().missing_penalty_upokt
    minimum = upokt_of(miner.queries.supplier_params().min_stake)
    survives = (stake - minimum) / penalty if penalty else float("inf")
    metrics.set("ha_miner_supplier_stake_health_ratio", survives, supplier)
    if survives < section.stake_critical_proof_threshold:
        metrics.count("ha_miner_supplier_stake_critical_alerts", supplier)
        log.error("stake survives few penalties", supplier=supplier, survives=int(survives))
    elif survives < section.stake_warning_proof_threshold:
        metrics.count("ha_miner_supplier_stake_warning_alerts", supplier)
        log.warning("stake survives some penalties", supplier=supplier, survives=int(survives))
