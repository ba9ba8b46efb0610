"""What a worker's processes share and what each has of its own.

The parent draws the node's owner token before it forks; its children inherit it (decisions.md E). Connections are
made after the fork, by whoever needs them first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from mining_tasks.celery_settings import configured
from mining_tasks.config import MinerConfig
from mining_tasks.held_keys import HeldKeys
from mining_tasks.metrics import MinerMetrics
from mining_tasks.node import node_name
from mining_tasks.registration import Registration
from mining_tasks.wiring import Miner, build_miner, curve_of
from pocket_chain.keyring import Keyring
from relay_store.lease import new_token


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is: made once by the parent."""

    config: MinerConfig
    token: str
    name: str


@dataclass
class Workplace:
    """What tasks of this process work with."""

    miner: Miner
    held: HeldKeys
    registration: Registration


_identity: Identity | None = None
_parent_s: HeldKeys | None = None
_workplace: tuple[int, Workplace] | None = None  # process id, so that a fork inherits none


def identify() -> Identity:
    """Return who this node is; the first call, in the parent, decides. Raises `ConfigInvalid`."""
    global _identity
    if _identity is None:
        config, token = configured().config, new_token()
        _identity = Identity(config, token, node_name(config, token))
    return _identity


def hold_keys() -> HeldKeys:
    """Read the keys, in the parent: what it has seen, its children inherit at their fork. Raises `KeysInvalid`."""
    global _parent_s
    config = identify().config
    _parent_s = HeldKeys(Keyring(config.keys, curve_of(config)), follows=config.hot_reload_enabled)
    return _parent_s


def workplace() -> Workplace:
    """Return this process's workplace, made at the first call.

    Raises `KeysInvalid`, `NoCurve`, `StoreUnavailable`: the next task tries again.
    """
    global _workplace
    if _workplace is None or _workplace[0] != os.getpid():
        _workplace = (os.getpid(), _make_workplace(identify()))
    place = _workplace[1]
    place.held.follow()
    return place


@cache
def process_metrics() -> MinerMetrics:
    """Return the metrics of this process; a child's are its own files in the metrics directory."""
    return MinerMetrics()


def _make_workplace(identity: Identity) -> Workplace:
    config = identity.config
    earlier = {} if _parent_s is None else _parent_s.signing
    if _parent_s is not None and not config.hot_reload_enabled:
        held = _parent_s  # a child that replaces another must not know other keys than the node
    else:
        keyring = Keyring(config.keys, curve_of(config))
        held = HeldKeys(keyring, earlier=earlier, follows=config.hot_reload_enabled)
    miner = build_miner(config, identity.token, held, process_metrics())
    registration = Registration(miner.store, miner.keys, miner.queries, miner.metrics, identity.name)
    return Workplace(miner, held, registration)
