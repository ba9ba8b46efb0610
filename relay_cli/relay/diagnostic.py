"""One relay, step by step, and what it shows (spec/relayer.md §8.3)."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from pocket_protocol.errors import PocketError
from relay_cli.relay.client import Connection, InnerRequest, RelayClient
from relay_cli.relay.grpc_answer import BLOCK_HEIGHT, block_height
from relay_cli.relay.load_test import ChooseSupplier
from relay_cli.relay.outcome import NO_HTTP, AnswerInvalid, BackendError, RelayOutcome
from relay_cli.relay.service_answer import check_answer
from relay_cli.relay.trace import RelayTrace


@dataclass(slots=True)
class Diagnosis(RelayTrace):
    """How far the relay came. `outcome` is there once a verified answer came back."""

    outcome: RelayOutcome | None = None
    block_height: int | None = None

    def to_json(self) -> dict[str, Any]:
        document = self.head()
        if self.outcome:
            times, response = self.outcome.times, self.outcome.response
            document["times_ms"] = {
                "build": round(1000 * times.build_s, 3),
                "network": round(1000 * times.network_s, 3),
                "verify": round(1000 * times.verify_s, 3),
                "total": round(1000 * times.total_s, 3),
            }
            document["response"] = {
                "size_bytes": self.outcome.size_bytes,
                "status": response.status_code if response.status_code != NO_HTTP else None,
                "headers": {name: list(values) for name, values in response.headers},
                **_body_json(response.body),
            }
            if self.block_height is not None:
                document["response"]["block_height"] = self.block_height
        return document

    def lines(self) -> list[str]:
        """Return the report as text."""
        lines = self.head_lines("Relay Request Diagnostic")
        if self.outcome:
            lines += [*_time_lines(self.outcome)]
        lines += ["", "=== Response ===", f"Status: {self.status}"]
        if self.outcome:
            wrong = isinstance(self.failure, BackendError)
            lines += ["Signature: ✅ VALID", f"Error Check: {'❌ ERROR' if wrong else '✅ NO ERRORS'}"]
            lines += [f"Response Size: {self.outcome.size_bytes} bytes"]
        elif isinstance(self.failure, AnswerInvalid):
            lines += ["Signature: ❌ INVALID"]
        lines += [f"Error: {self.failure}"] if self.failure else []
        lines += _payload_lines(self.outcome) if self.outcome else []
        lines += [f"Block Height: {self.block_height}"] if self.block_height is not None else []
        return [*lines, ""]


def diagnose(
    client: RelayClient,
    connection: Connection,
    request: InnerRequest,
    choose_supplier: ChooseSupplier,
    height: int,
) -> Diagnosis:
    """Send one relay in the session at `height`; every failure of it is in the diagnosis."""
    diagnosis = Diagnosis(client.source.application, client.source.service_id)
    try:
        diagnosis.session = client.source.at(height)
        diagnosis.supplier = choose_supplier(diagnosis.session, 0)
        if diagnosis.supplier not in diagnosis.session.suppliers:
            diagnosis.notes.append(f"supplier {diagnosis.supplier} is not in this session")
        relay = client.sign(diagnosis.session, diagnosis.supplier, request)
        diagnosis.outcome = client.send(connection, relay, request.transport)
        if request.http.url == BLOCK_HEIGHT:
            diagnosis.block_height = block_height(diagnosis.outcome.response)
        check_answer(diagnosis.outcome.response, request.transport)
    except PocketError as error:
        diagnosis.failure = error
    return diagnosis


def _time_lines(outcome: RelayOutcome) -> list[str]:
    times = outcome.times
    rows = (
        ("Build", times.build_s),
        ("Network", times.network_s),
        ("Verify", times.verify_s),
        ("Total", times.total_s),
    )
    return ["", "=== Timings ===", *(f"{name} Time: {1000 * seconds:.3f}ms" for name, seconds in rows)]


def _payload_lines(outcome: RelayOutcome) -> list[str]:
    response = outcome.response
    lines = ["", "=== Response Payload ==="]
    lines += [f"HTTP {response.status_code}"] if response.status_code != NO_HTTP else []
    lines += [f"{name}: {value}" for name, values in response.headers for value in values]
    shown = _body_json(response.body)
    if "json" in shown:
        body = json.dumps(shown["json"], indent=2, ensure_ascii=False)
    else:
        body = shown.get("text", f"{len(response.body)} bytes, not text")
    return [*lines, "", body]


def _body_json(body: bytes) -> dict[str, Any]:
    try:
        return {"json": json.loads(body)}
    except (ValueError, RecursionError):
        pass
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if all(character.isprintable() or character.isspace() for character in text):
        return {"text": text}
    return {"base64": base64.b64encode(body).decode()}
