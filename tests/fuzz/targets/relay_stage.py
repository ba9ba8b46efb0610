"""A relayer's pipeline with its real store and real signatures, in this process, and its books."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relay_store.connection import Store, connect
from relayer_web.backends.contract import BackendRequest, BackendResponse
from tests.stores import private_server
from tests.unit.relayer_web.relay_world import (
    COST_UPOKT,
    BackendServer,
    World,
    address,
    application,
    made_world,
)

BOOKS_EVERY = 200
STAKE_UPOKT = 10**15
MAX_SERIES = 2_000


class RelayStage:
    """`world` with a backend that always answers. Call `attempted` after each input: books that do not close are a find."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.served = 0
        self.unanswered = 0.0
        self._attempts = 0
        world.chain.apps[address("app")] = application("app", ["gateway"], STAKE_UPOKT)
        world.backends.transports.add("websocket")
        world.backends.call = self._answer  # type: ignore[method-assign]

    def _answer(self, service_id: str, transport: str, request: BackendRequest) -> BackendResponse:
        return BackendResponse(200, [("Content-Type", "application/json")], b"{}")

    def attempted(self) -> None:
        """Raise what the pipeline took for a defect; look into the books now and then."""
        if self.world.defects:
            raise self.world.defects.pop(0)
        self._attempts += 1
        if self._attempts % BOOKS_EVERY == 0:
            self.close_books()

    def close_books(self) -> None:
        """Nothing is charged or mined but what was served."""
        mined = self.world.store.client.xlen(self.world.keys.relay_stream(address("supplier")))
        charged = self.world.consumed_upokt()
        served, self.served = self.served, 0
        self.world.runtime.metrics.flush()
        self.world.store.client.flushall()
        series = sum(len(family.samples) for family in self.world.registry.collect())
        assert series < MAX_SERIES, f"{series} series of metrics"
        assert (mined, charged) == (served, served * COST_UPOKT), (mined, charged / COST_UPOKT, served)


@contextmanager
def relay_stage() -> Iterator[RelayStage]:
    with (
        tempfile.TemporaryDirectory(prefix="pocket-fuzz-") as directory,
        private_server(Path(directory)) as server,
    ):
        store: Store = connect(server.connection_url)
        backend = BackendServer()
        try:
            with made_world(store, server.connection_url, backend) as world:
                stage = RelayStage(world)
                yield stage
                stage.close_books()
        finally:
            backend.server.shutdown()
            store.close()
