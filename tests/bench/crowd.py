"""Many quiet clients in a process of their own: WebSockets that sit idle, streams that are read, and two rude ones.

One thread with epoll, orders by a pipe, so that it costs little and disturbs no measurement of the process beside it.
"""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from websockets.frames import Frame, Opcode

RECEIVE_BYTES = 1 << 18  # at once, and sent at once: the others have their turn
AT_ONCE = 50  # handshakes
PATIENCE_S = 60.0
GIANT_EVERY_S = 1.0
DEAF_S, DEAF_MESSAGES = 15.0, 4
EVENTS_PATH = "/crowd/sse"  # of the backend: an event a second
DELIMITER = b"||POKT_STREAM||"
_SENT = re.compile(rb'"sent_ns":(\d+)')
Opening = tuple[bytes, bytes]  # an upgrade request, and the first message


@dataclass
class Seen:
    """What a crowd saw since it was asked last."""

    opening_s: float = 0.0
    first_answers_s: list[float] = field(default_factory=list)
    event_delays_s: list[float] = field(default_factory=list)  # from the backend's sending to the client
    giant_answers_s: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class _Member:
    """One connection. `take` is given what came; `wants` is still to be sent."""

    def __init__(self, sock: socket.socket, take: Callable[[_Member], None], wants: bytes) -> None:
        self.sock, self.take, self.wants = sock, take, memoryview(wants)
        self.received = bytearray()
        self.opened_at = time.monotonic()
        self.is_reading = True


class _Crowd:
    def __init__(self, address: tuple[str, int], orders: Connection) -> None:
        self._address = address
        self._orders = orders
        self._selector = selectors.DefaultSelector()
        self._selector.register(orders, selectors.EVENT_READ)
        self._waiting: list[Callable[[], _Member]] = []
        self._opening = 0
        self._opening_since = 0.0
        self._due: list[tuple[float, Callable[[], None]]] = []
        self._seen = Seen()

    def run(self) -> None:
        while True:
            for key, events in self._selector.select(0.1):
                if key.data is None:
                    if not self._obey(*self._orders.recv()):
                        return
                else:
                    self._move(key.data, events)
            now = time.monotonic()
            due, self._due = (
                [do for at, do in self._due if at <= now],
                [one for one in self._due if one[0] > now],
            )
            for do in due:
                do()

    def _obey(self, what: str, *given: Any) -> bool:
        if what == "websockets":
            self._open_all([lambda o=opening: self._websocket(o, self._take_first) for opening in given[0]])
        elif what == "streams":
            self._open_all([lambda r=request: self._connect(self._take_stream, r) for request in given[0]])
        elif what == "giant":
            self._websocket(given[0], lambda member: self._take_giant(member, given[0][1]))
        elif what == "deaf":
            self._deaf(given[0])
        elif what == "seen":
            self._orders.send(self._seen)
            self._seen = Seen()
        return what != "end"

    # --- opening

    def _open_all(self, members: list[Callable[[], _Member]]) -> None:
        """Open these, so many at once, and say when all are served."""
        self._waiting, self._opening_since = members[::-1], time.monotonic()
        for _ in range(min(AT_ONCE, len(members))):
            self._open_next()

    def _open_next(self) -> None:
        self._opening += 1
        self._waiting.pop()()

    def _opened(self, member: _Member) -> None:
        self._seen.first_answers_s.append(time.monotonic() - member.opened_at)
        self._settled()

    def _settled(self) -> None:
        self._opening -= 1
        if self._waiting:
            self._open_next()
        elif not self._opening:
            self._seen.opening_s = time.monotonic() - self._opening_since
            self._orders.send("opened")

    def _connect(self, take: Callable[[_Member], None], wants: bytes) -> _Member:
        sock = socket.create_connection(self._address, PATIENCE_S)
        sock.setblocking(False)
        member = _Member(sock, take, wants)
        self._selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, member)
        return member

    def _websocket(self, opening: Opening, then: Callable[[_Member], None]) -> _Member:
        head, frame = opening

        def take_handshake(member: _Member) -> None:
            answer, end, rest = bytes(member.received).partition(b"\r\n\r\n")
            if end and not answer.startswith(b"HTTP/1.1 101"):
                self._lose(member, f"refused: {answer[:60]!r}")
            elif end:
                member.received = bytearray(rest)
                member.take = then
                self._send(member, frame)
                then(member)

        return self._connect(take_handshake, head)

    def _deaf(self, opening: Opening) -> None:
        """A client that sends all it can and reads nothing, again and again."""

        def stop_reading(member: _Member) -> None:
            member.is_reading = False
            self._listen(member)
            self._due.append((time.monotonic() + DEAF_S, lambda: look(member)))

        def look(member: _Member) -> None:
            self._lose(
                member, "not reading: cut off" if _is_cut_off(member.sock) else "not reading: still connected"
            )
            self._deaf(opening)

        self._websocket((opening[0], opening[1] * DEAF_MESSAGES), stop_reading)

    # --- moving bytes

    def _move(self, member: _Member, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                member.wants = member.wants[member.sock.send(member.wants[:RECEIVE_BYTES]) :]
                self._listen(member)
            if events & selectors.EVENT_READ:
                data = member.sock.recv(RECEIVE_BYTES)
                if not data:
                    self._lose(member, "closed by the relayer")
                    return
                member.received += data
                member.take(member)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(member, type(error).__name__)

    def _send(self, member: _Member, data: bytes) -> None:
        member.wants = memoryview(bytes(member.wants) + data)
        self._listen(member)

    def _listen(self, member: _Member) -> None:
        events = selectors.EVENT_READ * member.is_reading | selectors.EVENT_WRITE * bool(member.wants)
        if events:
            self._selector.modify(member.sock, events, member)
        else:
            self._selector.unregister(member.sock)

    def _lose(self, member: _Member, why: str) -> None:
        if member.sock.fileno() < 0:
            return
        self._seen.counts[why] += 1
        if member.sock.fileno() in self._selector.get_map():
            self._selector.unregister(member.sock)
        member.sock.close()
        if member.take not in (self._take_idle, self._take_events) and self._opening:
            self._settled()

    # --- what comes

    def _take_first(self, member: _Member) -> None:
        if self._messages(member):
            member.take = self._take_idle
            self._opened(member)

    def _take_idle(self, member: _Member) -> None:
        self._seen.counts["messages to idle WebSockets"] += len(self._messages(member))

    def _take_giant(self, member: _Member, frame: bytes) -> None:
        for _ in self._messages(member):
            self._seen.giant_answers_s.append(time.monotonic() - member.opened_at)
            self._due.append((time.monotonic() + GIANT_EVERY_S, lambda: self._again(member, frame)))

    def _again(self, member: _Member, frame: bytes) -> None:
        member.opened_at = time.monotonic()
        self._send(member, frame)

    def _take_stream(self, member: _Member) -> None:
        head, end, _ = bytes(member.received[:4096]).partition(b"\r\n\r\n")
        if end and not head.startswith(b"HTTP/1.1 200"):
            self._lose(member, f"refused: {head[:60]!r}")
        elif DELIMITER in member.received:
            member.take = self._take_events
            self._opened(member)
            self._take_events(member)

    def _take_events(self, member: _Member) -> None:
        now = time.monotonic_ns()
        *batches, rest = bytes(member.received).split(DELIMITER)
        member.received = bytearray(rest)
        for batch in batches:
            self._seen.event_delays_s += [(now - int(sent)) / 1e9 for sent in _SENT.findall(batch)]

    def _messages(self, member: _Member) -> list[int]:
        """Take whole frames; answer pings; return the sizes of messages."""
        sizes, buffer = [], member.received
        while len(buffer) >= 2:
            length, start = buffer[1] & 0x7F, 2
            if length > 125:
                start = 4 if length == 126 else 10
                length = int.from_bytes(buffer[2:start], "big")
            if len(buffer) < start + length:
                break
            opcode, payload = buffer[0] & 0xF, bytes(buffer[start : start + min(length, 125)])
            del buffer[: start + length]
            if opcode == Opcode.PING:
                self._seen.counts["pings answered"] += 1
                self._send(member, Frame(Opcode.PONG, payload).serialize(mask=True))
            elif opcode == Opcode.CLOSE:
                code = int.from_bytes(payload[:2], "big")
                self._seen.counts[f"close {code}"] += 1
            else:
                sizes.append(length)
        return sizes


def _is_cut_off(sock: socket.socket) -> bool:
    """Whether the connection has an end behind all that was not read."""
    try:
        while sock.recv(RECEIVE_BYTES):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _run(address: tuple[str, int], orders: Connection) -> None:
    _Crowd(address, orders).run()


class Crowd:
    """Orders to a crowd at `address`; a context manager."""

    def __init__(self, address: tuple[str, int]) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(address, theirs), daemon=True)

    def __enter__(self) -> Crowd:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(("end",))
        self._process.join(10)

    @property
    def process_id(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def open_websockets(self, openings: Sequence[Opening]) -> Seen:
        """Open a WebSocket for each message, send it, wait for its answer, and stay."""
        self._pipe.send(("websockets", [_framed(opening) for opening in openings]))
        return self._all_opened()

    def open_streams(self, requests: Sequence[bytes]) -> Seen:
        """Send each request on a connection of its own and read its answer for ever."""
        self._pipe.send(("streams", list(requests)))
        return self._all_opened()

    def add_giant(self, opening: Opening) -> None:
        """A client that sends a large message every second and reads the answer."""
        self._pipe.send(("giant", _framed(opening)))

    def add_deaf(self, opening: Opening) -> None:
        """A client that sends large messages and reads nothing, until it is cut; then another."""
        self._pipe.send(("deaf", _framed(opening)))

    def seen(self) -> Seen:
        """What was seen since the last time."""
        self._pipe.send(("seen",))
        assert self._pipe.poll(PATIENCE_S), "the crowd does not answer"
        return self._pipe.recv()  # type: ignore[no-any-return]

    def _all_opened(self) -> Seen:
        assert self._pipe.poll(PATIENCE_S), "not all were opened in time"
        assert self._pipe.recv() == "opened"
        return self.seen()


def _framed(opening: Opening) -> Opening:
    head, message = opening
    return head, Frame(Opcode.TEXT, message).serialize(mask=True)
