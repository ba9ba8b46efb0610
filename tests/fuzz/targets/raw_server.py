"""A server on a real port that answers every connection with the same bytes."""

from __future__ import annotations

import socket
import threading

DEADLINE_S = 5.0


class RawServer:
    """Answers every connection with the same bytes once a request was begun, and ends it; keeps what it got."""

    def __init__(self) -> None:
        self.answer = b""
        self.received = b""
        self.heard = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

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
                finally:
                    self.heard.set()

    def _serve(self, connection: socket.socket) -> None:
        received = connection.recv(1 << 20)
        connection.sendall(self.answer)
        connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(1 << 20):
            received += chunk
        self.received = received
