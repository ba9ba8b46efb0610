"""Everything the pipeline of one front-end process uses, as one value. Nothing happens at import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from relay_store.block_feed import BlockFeed
from relayer_web.admission import Admission
from relayer_web.backends.contract import Backends
from relayer_web.config import RelayerConfig
from relayer_web.metering import Metering
from relayer_web.metrics import RelayerMetrics
from relayer_web.mining import Miner
from relayer_web.position import PositionSource
from relayer_web.publisher import RelayPublisher
from relayer_web.responses import Compression, ResponseSigner
from relayer_web.simulation import SimulationGate
from relayer_web.store_gate import StoreGate
from relayer_web.tracing import begins_nothing
from relayer_web.verification import Verifier

if TYPE_CHECKING:
    from relayer_web.served_first import ServedFirst

DEFAULT_MAX_RESPONSE_BYTES = 200 * 1024 * 1024

log = structlog.get_logger("relayer")


@dataclass
class Runtime:
    """The parts the pipeline uses, by the names it uses."""

    admission: Admission
    store_gate: StoreGate
    position: PositionSource
    backends: Backends
    verifier: Verifier
    metering: Metering
    signer: ResponseSigner
    miner: Miner
    publisher: RelayPublisher
    metrics: RelayerMetrics
    feed: BlockFeed
    simulation: SimulationGate
    served_first: ServedFirst
    meter_is_sound: Callable[[str], bool] = lambda service_id: True  # what a simulated relay would find
    compression: Compression = field(default_factory=Compression)
    max_response_bytes: int = DEFAULT_MAX_RESPONSE_BYTES
    requires_signed_handshakes: bool = False
    begins: Callable[[str, Callable[..., Any]], Callable[..., Any]] = begins_nothing  # of tracing
    on_defect: Callable[[Exception], None] = lambda error: log.error("relay failed", exc_info=error)
    start: Callable[[], None] = lambda: None
    reconfigure: Callable[[RelayerConfig, Backends], None] = lambda config, backends: None
    drain: Callable[[], None] = lambda: None  # the process will end; called from a signal handler
    stop: Callable[[], None] = lambda: None
