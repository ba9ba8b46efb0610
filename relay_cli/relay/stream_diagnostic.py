"""One streamed relay, batch by batch (spec/relayer.md §1.6, §8.3)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pocket_protocol.errors import PocketError
from relay_cli.relay.client import InnerRequest, RelayClient, SignedRelay
from relay_cli.relay.http_connection import RelayerConnection
from relay_cli.relay.load_test import ChooseSupplier
from relay_cli.relay.outcome import AnswerInvalid, BackendError
from relay_cli.relay.trace import RelayTrace

DELIMITER: Final = b"||POKT_STREAM||"
MAX_BATCH_BYTES: Final = 100 << 20
RPC_TYPE: Final = "4"


def stream_body(body: bytes, batches: int) -> bytes:
    """Return a JSON call that asks for so many events; 0 leaves it as it is. Raises ValueError unless it is an object."""
    if not batches:
        return body
    call = json.loads(body)
    if not isinstance(call, dict):
        raise ValueError("--batches needs a JSON object as payload")
    return json.dumps({**call, "batches": batches}, separators=(",", ":"), sort_keys=True).encode()


@dataclass(slots=True)
class StreamDiagnosis(RelayTrace):
    """How far the stream came: the verified batches' bodies, and times in seconds."""

    batches: list[bytes] = field(default_factory=list)
    build_s: float = 0.0
    first_s: float = 0.0
    stream_s: float = 0.0
    verify_s: float = 0.0

    @property
    def payload(self) -> bytes:
        return b"".join(self.batches)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.head(),
            "times_ms": {name: round(1000 * seconds, 3) for name, seconds in self._times()},
            "batches": [len(batch) for batch in self.batches],
            "payload": self.payload.decode("utf-8", "replace"),
        }

    def lines(self) -> list[str]:
        """Return the report as text."""
        lines = self.head_lines("Streaming Relay Diagnostic")
        lines += ["", "=== Timings ==="]
        lines += [f"{name.title()} Time: {1000 * seconds:.3f}ms" for name, seconds in self._times()]
        lines += ["", "=== Stream Results ===", f"Status: {self.status}"]
        lines += [f"Batches Received: {len(self.batches)}"]
        lines += ["Signatures: ✅ ALL VALID"] if self.batches and self.ok else []
        lines += ["Signatures: ❌ INVALID"] if isinstance(self.failure, AnswerInvalid) else []
        lines += [f"Batch {number}: {len(batch)} bytes" for number, batch in enumerate(self.batches, 1)]
        lines += [f"Error: {self.failure}"] if self.failure else []
        return [*lines, "", "=== Combined Payload ===", *self._payload_lines(), ""]

    def _times(self) -> list[tuple[str, float]]:
        total_s = self.build_s + self.stream_s + self.verify_s
        return [
            ("build", self.build_s),
            ("first batch", self.first_s),
            ("stream", self.stream_s),
            ("verify", self.verify_s),
            ("total", total_s),
        ]

    def _payload_lines(self) -> list[str]:
        text = self.payload.decode("utf-8", "replace")
        try:
            return ["Payload:", json.dumps(json.loads(text), indent=2, ensure_ascii=False)]
        except (ValueError, RecursionError):
            return [f"Payload: {text}"]


def diagnose_stream(
    client: RelayClient,
    connection: RelayerConnection,
    request: InnerRequest,
    choose_supplier: ChooseSupplier,
    height: int,
) -> StreamDiagnosis:
    """Send one relay whose answer is a stream; every failure of it is in the diagnosis."""
    diagnosis = StreamDiagnosis(client.source.application, client.source.service_id)
    try:
        diagnosis.session = client.source.at(height)
        diagnosis.supplier = choose_supplier(diagnosis.session, 0)
        relay = client.sign(diagnosis.session, diagnosis.supplier, request)
        diagnosis.build_s = relay.build_s
        _receive(diagnosis, client, connection, relay)
        if not diagnosis.batches:
            raise AnswerInvalid("the stream ended without a batch")
    except PocketError as error:
        diagnosis.failure = error
    return diagnosis


def _receive(
    diagnosis: StreamDiagnosis, client: RelayClient, connection: RelayerConnection, relay: SignedRelay
) -> None:
    """Take and verify batch after batch."""
    headers = {"Content-Type": "application/octet-stream", "Rpc-Type": RPC_TYPE, **client.headers}
    started = time.perf_counter()
    chunks = connection.stream(f"/{client.source.service_id}", relay.encoded, headers, diagnosis.notes.append)
    for encoded in split_batches(chunks):
        arrived = time.perf_counter()
        diagnosis.first_s = diagnosis.first_s or arrived - started
        response = client.verified(relay, encoded).response
        if response.status_code >= 400:
            text = response.body[:200].decode("utf-8", "replace")
            raise BackendError(f"backend HTTP {response.status_code}: {text}")
        diagnosis.batches.append(response.body)
        diagnosis.verify_s += time.perf_counter() - arrived
    diagnosis.stream_s = time.perf_counter() - started - diagnosis.verify_s


def split_batches(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what stands before each delimiter; a tail without one is a truncated batch and dropped."""
    received = b""
    for chunk in chunks:
        *whole, received = (received + chunk).split(DELIMITER)
        yield from whole
        if len(received) > MAX_BATCH_BYTES:
            raise AnswerInvalid("a batch is too large")
