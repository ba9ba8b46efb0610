"""A server on a real port that answers every connection with the same bytes."""

from __future__ import annotations

import queue
import socket
import threading

DEADLINE_S = 5.0


class RawServer:
    """Answers a connection once a request was begun, and ends it; keeps what it got."""

    def __init__(self) -> None:
        self._answer = 0, b""
        self._received: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def answer(self, answer: bytes) -> None:
        """Answer connections with this from now on."""
        self._answer = self._answer[0] + 1, answer

    def received(self) -> bytes:
        """What came on the connection that got the last answer; waits for its end. Raises queue.Empty."""
        while True:
            number, received = self._received.get(timeout=DEADLINE_S)
            if number == self._answer[0]:
                return received

    def stop(self) -> None:
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(DEADLINE_S)
                try:
                    self._serve(connection)
                except OSError:
                    continue

    def _serve(self, connection: socket.socket) -> None:
        received = connection.recv(1 << 20)
        number, answer = self._answer
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(1 << 20):
            received += chunk
        while not self._received.empty():
            self._received.get()
        self._received.put((number, received))
