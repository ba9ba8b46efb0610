"""One pub/sub connection per process, kept alive (spec/relayer.md §5.3).

Pub/sub has no replay: whatever is published while the connection is down is lost. So every (re)subscription
that the server has confirmed is announced to the parts that listen, and they read again what they need.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from pocket_protocol.errors import PocketError
from relay_store.store_errors import store_errors

Handler = Callable[[bytes], None]  # gets one message's payload

READ_WAIT_S: Final = 0.25  # a stop is noticed within this
SILENCE_S: Final = (
    10.0  # after so long without a message a PING must be answered, else the connection is dead
)
BACKOFF_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)


class Subscription:
    """Reads the channels of `handlers` in a thread of its own until stopped.

    `on_confirmed` runs after each confirmed (re)subscription, `on_lost` when a connection was lost. A handler's own error
    goes to `on_error` and never ends the reading.
    """

    def __init__(
        self,
        client: Any,
        handlers: Mapping[str, Handler],
        *,
        on_confirmed: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
        on_error: Callable[[str, Exception], None] = lambda channel, error: None,
    ) -> None:
        self._client = client
        self._handlers = {channel.encode(): handler for channel, handler in handlers.items()}
        self._on_confirmed = on_confirmed
        self._on_lost = on_lost
        self._on_error = on_error
        self._stopping = threading.Event()
        self._confirmed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, wait_s: float = 10.0) -> bool:
        """Begin reading; return whether the server confirmed all channels within `wait_s`."""
        self._thread = threading.Thread(target=self._run, name="subscription", daemon=True)
        self._thread.start()
        return self._confirmed.wait(wait_s)

    def stop(self) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(2.0)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            reader = self._client.pubsub(ignore_subscribe_messages=False)
            try:
                with store_errors():
                    reader.subscribe(*self._handlers)
                    self._read(reader)
            except (PocketError, OSError):
                failures = 0 if self._confirmed.is_set() else failures + 1
                if self._confirmed.is_set():
                    self._confirmed.clear()
                    self._call("", lambda _: self._on_lost(), b"")
                self._stopping.wait(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            finally:
                reader.close()

    def _read(self, reader: Any) -> None:
        pending = set(self._handlers)
        silent_s = 0.0
        while not self._stopping.is_set():
            message = reader.get_message(timeout=READ_WAIT_S)
            if message is None:
                silent_s += READ_WAIT_S
                if silent_s >= 2 * SILENCE_S:
                    raise OSError("the store answers no PING")
                if silent_s == SILENCE_S:
                    reader.ping()
                continue
            silent_s = 0.0
            if message["type"] == "message":
                channel = message["channel"]
                self._call(channel.decode(), self._handlers[channel], message["data"])
            elif message["type"] == "subscribe":
                pending.discard(message["channel"])
                if not pending and not self._confirmed.is_set():
                    self._call("", lambda _: self._on_confirmed(), b"")
                    self._confirmed.set()

    def _call(self, channel: str, handler: Handler, payload: bytes) -> None:
        try:
            handler(payload)
        except Exception as error:
            self._on_error(channel, error)
