"""Relays at a steady pace, each answered one remembered by the path its leaf must have."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from pocket_chain.queries import ChainQueries
from pocket_protocol import relay as relay_protocol
from pocket_protocol import smst
from pocket_protocol.curve import Curve
from pocket_protocol.errors import PocketError
from relay_cli.demo.traffic import REQUESTS
from relay_cli.relay.client import RelayClient
from relay_cli.relay.client_keys import ClientKeys
from relay_cli.relay.outcome import AnswerInvalid, RelayRefused, RelayUndelivered
from relay_cli.relay.relay_session import SessionSource, choose_application
from relay_cli.up.ports import HOST

UNAVAILABLE = "HTTP 503"
SessionKey = tuple[str, str, int]  # supplier, service id, session end height


class CountedRelays:
    """What a gateway knows of its relays. `unknown`: no whole answer came, so it may have been mined or not."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # paths of their leaves, and when (monotonic) the answer came
        self.answered: defaultdict[SessionKey, dict[bytes, float]] = defaultdict(dict)
        self.unknown: Counter[SessionKey] = Counter()
        self.refused: Counter[str] = Counter()
        # refused although it may have been mined: the store's answer was lost (decisions.md F)
        self.unavailable: Counter[SessionKey] = Counter()
        self.invalid: list[str] = []  # a 200 that is no signed answer to what was asked


class NobodyListens(RelayUndelivered):
    """The relay was not sent."""


class OneTry:
    """A kept-alive connection that sends nothing twice, and keeps the last answer."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=5.0)
        self.answer = b""

    def exchange(self, service_id: str, encoded: bytes, headers: Mapping[str, str]) -> bytes:
        """Raises `RelayUndelivered`, `RelayRefused`."""
        try:
            self._connection.request("POST", f"/{service_id}", encoded, dict(headers))
            response = self._connection.getresponse()
            self.answer = response.read()
        except ConnectionRefusedError as error:
            self._connection.close()
            raise NobodyListens(repr(error)) from None
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise RelayUndelivered(repr(error)) from None
        if response.status != 200:
            raise RelayRefused(
                f"HTTP {response.status}: {self.answer[:200].decode(errors='replace').strip()}"
            )
        return self.answer


class SteadyLoad:
    """`threads` senders for each service and relayers by turns, `per_second` relays a second; a context manager."""

    def __init__(
        self,
        queries: ChainQueries,
        keys: ClientKeys,
        curve: Curve,
        relayer_ports: Sequence[int],
        height: Callable[[], int],
        *,
        threads: int = 2,
        per_second: float = 60.0,
    ) -> None:
        self.counted = CountedRelays()
        self._height = height
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._pause_s = threads * len(REQUESTS) / per_second
        addresses = keys.application_addresses(curve)
        self._threads = []
        for service in REQUESTS:
            position = choose_application(queries, addresses, service)
            source = SessionSource(queries, addresses[position], service)
            client = RelayClient(source, keys.signing_key(position), curve)
            self._threads += [
                threading.Thread(
                    target=self._run,
                    args=(client, service, relayer_ports[number % len(relayer_ports)]),
                    daemon=True,
                )
                for number in range(threads)
            ]

    def __enter__(self) -> SteadyLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self, client: RelayClient, service: str, relayer_port: int) -> None:
        try:
            self._send_all(client, service, relayer_port)
        except Exception as error:  # handed to the thread that ends the load
            self._failure = error

    def _send_all(self, client: RelayClient, service: str, relayer_port: int) -> None:
        connection = OneTry(relayer_port)
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._pause_s, time.monotonic())
            try:
                self._send(client, connection, service)
            except PocketError as error:  # the chain could not be asked: no relay was sent
                self.counted.refused[str(error)] += 1

    def _send(self, client: RelayClient, connection: OneTry, service: str) -> None:
        session = client.source.at(self._height())
        supplier = random.choice(session.suppliers)
        relay = client.sign(session, supplier, REQUESTS[service])
        key = (supplier, service, session.header.session_end_block_height)
        counted = self.counted
        try:
            client.send(connection, relay, REQUESTS[service].transport)  # type: ignore[arg-type]
        except (NobodyListens, RelayRefused) as error:
            with counted.lock:
                counted.refused[str(error)] += 1
                counted.unavailable[key] += str(error).startswith(UNAVAILABLE)
        except AnswerInvalid as error:
            with counted.lock:
                counted.invalid.append(f"{key}: {error}")
        except RelayUndelivered:
            with counted.lock:
                counted.unknown[key] += 1
        else:
            path = leaf_path(relay.encoded, connection.answer)
            with counted.lock:
                counted.answered[key][path] = time.monotonic()


def leaf_path(request: bytes, answer: bytes) -> bytes:
    """The path of the leaf that an answered relay becomes (decisions D2)."""
    response = relay_protocol.decode_response(answer)
    response.payload = b""
    mined = relay_protocol.mined_relay(relay_protocol.decode_request(request), response)
    return bytes(smst.path_of(relay_protocol.relay_hash(mined)))
