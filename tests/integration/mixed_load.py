"""Relays over every transport by gateways that know several relayers: what one does not take is sent to the next."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from websockets.exceptions import InvalidState
from websockets.frames import Close, Opcode

from localnet.default_genesis import named_key
from pocket_protocol import relay as relay_protocol
from pocket_protocol import smst
from pocket_protocol.envelope import HttpRequest, decode_http_response
from pocket_protocol.errors import PocketError
from pocket_protocol.grpc_frames import encode_frame
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest, RelayResponse
from pocket_protocol.signer import sign, verify
from relayer_web.grpc_relay import SEND_RELAY
from relayer_web.streaming import DELIMITER
from tests.integration.sender import JSON_CALL, Sender, address, curve, json_call, public_key
from tests.integration.socket_client import Refused, SocketClient
from tests.integration.steady_load import CountedRelays

SERVICE = "develop-http"
SUPPLIERS = ("supplier1", "supplier2")
EVENTS = 4  # of a stream, one in 0.2 s
PATIENCE_S = 15.0
ROUNDS = 100  # of all relayers, until a relay counts as lost
ROUND_PAUSE_S = 0.05
GRPC_CALL = HttpRequest(
    "POST",
    "/demo.DemoService/GetBlockHeight",
    (("Content-Type", ("application/grpc",)), ("TE", ("trailers",))),
    encode_frame(b""),
)
# What a relayer that is being restarted may say to a relay (docs/operations.md, "Restarting relayers").
REFUSED, CLOSED = "connection refused", "closed before a byte of an answer"
GOING_AWAY = "WebSocket close 1001 relayer is stopping"
DRAINING = "HTTP 503 to a WebSocket handshake"
GRPC_AWAY, GRPC_JUST_AWAY = "gRPC UNAVAILABLE", "gRPC CANCELLED"
SESSION_OVER = "WebSocket close 4000 session expired"  # spec/relayer.md §1.7.6
DOCUMENTED = frozenset({REFUSED, CLOSED, GOING_AWAY, DRAINING, GRPC_AWAY, GRPC_JUST_AWAY, SESSION_OVER})

Address = tuple[str, int]


class NotTaken(Exception):
    """The relayer did not take the relay; the text is the kind of refusal."""


class Broken(Exception):
    """The relayer took the relay, or may have, and did not answer it as it must."""


class MixedLoad:
    """Threads of each transport, each relay to the next relayer that takes it; a context manager.

    `sender` signs, `height` is where the chain is, `late_from(session end)` the height from which an answer may be too
    late to be mined (decisions C2), `pause_s` each thread's pause between two relays.
    """

    def __init__(
        self,
        sender: Sender,
        relayers: Sequence[Address],
        height: Callable[[], int],
        late_from: Callable[[int], int] = lambda session_end: 1 << 62,
        pause_s: float = 0.05,
    ) -> None:
        self.relayers = tuple(relayers)
        self.counted = CountedRelays()
        self.by_transport: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()  # (transport, kind)
        self.broken: list[str] = []
        self.longest_s: Counter[str] = Counter()
        self.late = 0
        self._sender, self._height, self._pause_s = sender, height, pause_s
        self._late_from = late_from
        self._ending = threading.Event()
        lanes = (KeptHttp, KeptHttp, FreshHttp, WebSocket, WebSocket, Grpc, Stream, Stream)
        self._threads = [
            threading.Thread(target=self._run, args=(lane(number % len(self.relayers)),), daemon=True)
            for number, lane in enumerate(lanes)
        ]

    def __enter__(self) -> MixedLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    @property
    def answered(self) -> int:
        return self.by_transport.total()

    def has_served_all(self, more: int, since: Counter[str]) -> bool:
        """Whether every transport has had so many more relays answered."""
        return all(self.by_transport[name] >= since[name] + more for name in TRANSPORTS)

    def problems(self) -> list[str]:
        """Whatever a gateway would complain about."""
        undocumented = [
            f"{kind}: {count}" for kind, count in self.refused.items() if kind[1] not in DOCUMENTED
        ]
        return self.broken + undocumented

    def _run(self, lane: Lane) -> None:
        try:
            while not self._ending.wait(self._pause_s):
                self._deliver(lane)
        except Exception as error:
            self.broken.append(f"{lane.transport}: {error!r}")
        finally:
            lane.leave()

    def _deliver(self, lane: Lane) -> None:
        """Have one relay answered by whichever relayer takes it."""
        supplier = random.choice(SUPPLIERS)
        started = time.monotonic()
        for attempt in range(ROUNDS * len(self.relayers)):
            if attempt and attempt % len(self.relayers) == 0:
                time.sleep(ROUND_PAUSE_S)
            # Signed anew each time: one that was taken without an answer would be a leaf that nobody was promised.
            request = self._sender.request(
                SERVICE, supplier=supplier, height=self._height(), **lane.content()
            )
            key = (address(supplier), SERVICE, request.meta.session_header.session_end_block_height)
            try:
                response = lane.ask(request, self.relayers[lane.at % len(self.relayers)], supplier)
            except NotTaken as refusal:
                lane.leave()
                lane.at += str(refusal) != SESSION_OVER
                self.refused[lane.transport, str(refusal)] += 1
                continue
            except Broken as error:
                lane.leave()
                with self.counted.lock:
                    self.counted.unknown[key] += 1
                self.broken.append(f"{lane.transport}: {error}")
                return
            with self.counted.lock:
                if self._height() >= self._late_from(key[2]):
                    self.counted.unknown[key] += 1
                    self.late += 1
                else:
                    self.counted.answered[key][mined_path(request, response)] = time.monotonic()
            self.by_transport[lane.transport] += 1
            took_s = time.monotonic() - started
            self.longest_s[lane.transport] = max(self.longest_s[lane.transport], took_s)  # type: ignore[assignment]
            return
        self.broken.append(f"{lane.transport}: no relayer took a relay")


def mined_path(request: RelayRequest, response: RelayResponse) -> bytes:
    """The path of the leaf that an answered relay becomes (decisions D2)."""
    mined = relay_protocol.mined_relay(request, response)
    return bytes(smst.path_of(relay_protocol.relay_hash(mined)))


def checked(encoded: bytes, request: RelayRequest, supplier: str) -> RelayResponse:
    """Return a response without its payload. Raises `Broken` when it is no signed answer to the request."""
    try:
        response = relay_protocol.decode_response(encoded)
    except PocketError as error:
        raise Broken(f"no answer: {encoded[:80]!r}") from error
    signable = relay_protocol.signable_response(response)
    signature = response.meta.supplier_operator_signature
    if response.meta.session_header != request.meta.session_header or not verify(
        curve(),
        public_key(supplier),
        signable,
        signature,  # type: ignore[arg-type]
    ):
        raise Broken(f"not signed for this relay: {encoded[:80]!r}")
    response.payload = b""
    return response


class Lane:
    """One client of a gateway. `at` numbers the relayer it uses now."""

    transport = ""

    def __init__(self, at: int) -> None:
        self.at = at

    def content(self) -> dict[str, Any]:
        """What is asked: arguments of `Sender.request`."""
        return {"inner": json_call()}

    def ask(self, request: RelayRequest, relayer: Address, supplier: str) -> RelayResponse:
        """Return the answer as it is mined. Raises `NotTaken`, `Broken`."""
        raise NotImplementedError

    def leave(self) -> None:
        """End the connection."""


class KeptHttp(Lane):
    """Relays over a connection that is kept as long as the relayer keeps it."""

    transport = "HTTP, kept alive"
    rpc_type = "3"

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, request: RelayRequest, relayer: Address, supplier: str) -> RelayResponse:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*relayer, timeout=PATIENCE_S)
        body = relay_protocol.encode_request(request)
        try:
            self._connection.request("POST", f"/{SERVICE}", body, {"Rpc-Type": self.rpc_type})
            answer = self._connection.getresponse()
        except ConnectionRefusedError:
            raise NotTaken(REFUSED) from None
        except (http.client.RemoteDisconnected, ConnectionError):
            raise NotTaken(CLOSED) from None
        try:
            content = answer.read()
        except (http.client.IncompleteRead, OSError) as error:
            raise Broken(f"broken off: {error!r}") from None
        if answer.will_close:
            self.leave()
        if answer.status != 200:
            raise NotTaken(f"HTTP {answer.status} {content[:200].decode('utf-8', 'replace')}")
        return self.read(content, request, supplier)

    def read(self, content: bytes, request: RelayRequest, supplier: str) -> RelayResponse:
        return checked(content, request, supplier)

    def leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class FreshHttp(KeptHttp):
    """Relays over a connection each."""

    transport = "HTTP, a connection each"

    def ask(self, request: RelayRequest, relayer: Address, supplier: str) -> RelayResponse:
        response = super().ask(request, relayer, supplier)
        self.leave()
        return response


class Stream(KeptHttp):
    """Answers that are streams, read to their end."""

    transport = "stream"

    def content(self) -> dict[str, Any]:
        return {"inner": json_call(f"/stream/sse?batches={EVENTS}")}

    def read(self, content: bytes, request: RelayRequest, supplier: str) -> RelayResponse:
        """Return what the relayer signed over all lines together; nobody is sent it, so it is signed here again."""
        *batches, rest = content.split(DELIMITER)
        if rest or not batches:
            raise Broken(f"a stream ends with {rest[:80]!r}")
        lines = b""
        for batch in batches:
            checked(batch, request, supplier)
            lines += decode_http_response(relay_protocol.decode_response(batch).payload).body
        if lines.count(b"data:") != EVENTS:
            raise Broken(f"{lines.count(b'data:')} of {EVENTS} events")
        response = RelayResponse(payload_hash=relay_protocol.payload_hash(lines))
        response.meta.session_header.CopyFrom(request.meta.session_header)
        signable = relay_protocol.signable_response(response)
        response.meta.supplier_operator_signature = sign(curve(), named_key(supplier), signable)
        return response


class WebSocket(Lane):
    """Relays one after the other over a WebSocket."""

    transport = "WebSocket"

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self._socket: SocketClient | None = None

    def content(self) -> dict[str, Any]:
        return {"payload": JSON_CALL}

    def ask(self, request: RelayRequest, relayer: Address, supplier: str) -> RelayResponse:
        if self._socket is None:
            self._socket = self._connected(relayer)
        try:
            with contextlib.suppress(InvalidState):  # a close frame came with the last answer: it is read now
                self._socket.send(relay_protocol.encode_request(request), Opcode.TEXT)
            frame = self._socket.frame()
            while frame.opcode is not Opcode.CLOSE and _is_advisory(bytes(frame.data)):
                frame = self._socket.frame()
        except OSError as error:
            raise NotTaken(f"WebSocket ended: {error!r}") from None
        if frame.opcode is Opcode.CLOSE:
            close = Close.parse(frame.data)
            raise NotTaken(f"WebSocket close {close.code} {close.reason}")
        return checked(bytes(frame.data), request, supplier)

    def _connected(self, relayer: Address) -> SocketClient:
        try:
            return SocketClient(relayer, {"Target-Service-Id": SERVICE, "Rpc-Type": "2"})
        except ConnectionRefusedError:
            raise NotTaken(REFUSED) from None
        except ConnectionError:
            raise NotTaken(CLOSED) from None
        except Refused as refused:
            raise NotTaken(f"HTTP {refused.status} to a WebSocket handshake") from None

    def leave(self) -> None:
        if self._socket is not None:
            self._socket.sock.close()
            self._socket = None


def _is_advisory(message: bytes) -> bool:
    """Whether it says that the session is over, and answers nothing."""
    return relay_protocol.decode_response(message).HasField("relay_miner_error")


class Grpc(Lane):
    """Calls over a channel."""

    transport = "gRPC"

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self._channel: grpc.Channel | None = None

    def content(self) -> dict[str, Any]:
        return {"inner": GRPC_CALL}

    def ask(self, request: RelayRequest, relayer: Address, supplier: str) -> RelayResponse:
        if self._channel is None:
            self._channel = grpc.insecure_channel(
                f"{relayer[0]}:{relayer[1]}", [("grpc.use_local_subchannel_pool", 1)]
            )
        body = relay_protocol.encode_request(request)
        try:
            call = self._channel.unary_unary(SEND_RELAY)
            answer: bytes = call(body, metadata=[("rpc-type", "1")], timeout=PATIENCE_S)
        except grpc.RpcError as error:
            raise NotTaken(f"gRPC {error.code().name}") from None
        return checked(answer, request, supplier)

    def leave(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


TRANSPORTS = tuple(lane.transport for lane in (KeptHttp, FreshHttp, WebSocket, Grpc, Stream))
