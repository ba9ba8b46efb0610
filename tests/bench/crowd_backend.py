"""The test backend for a thousand connections: on gevent, where a connection costs no thread.

    python -m tests.bench.crowd_backend host:port

`/crowd/sse` sends an event a second for ever, each with the moment it was sent (`sent_ns`, of CLOCK_MONOTONIC, which
all processes of a machine share).
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from collections.abc import Iterator  # noqa: E402

from localnet.backend.routes import Backend  # noqa: E402
from localnet.http_server import HttpServer, Request, Response, Takeover  # noqa: E402
from tests.bench.crowd import EVENTS_PATH  # noqa: E402

EVENT_EVERY_S = 1.0


def _events() -> Iterator[bytes]:
    while True:
        yield b'data: {"sent_ns":%d}\n\n' % time.monotonic_ns()
        time.sleep(EVENT_EVERY_S)


def main(address: str) -> None:
    backend = Backend()

    def handle(request: Request) -> Response | Takeover:
        if request.path == EVENTS_PATH:
            return Response(200, _events(), "text/event-stream")
        return backend.handle(request)

    HttpServer(address, handle).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
