"""The gunicorn worker of the relay port: gevent, with a direct way for relays (spec: pipeline.md §2.6; design.md §3.6).

    gunicorn -c python:relayer_web.gunicorn_conf relayer_web.wsgi:app

Connections of `listen_addr` carry relays and service routes; those of `health_check.addr` only the health routes
and the status page. Both listeners belong to gunicorn's master, so neither address is lost with a worker, and the
answers come from a process that serves relays.

SIGTERM: no new connections, idle ones are closed, relays on their way are finished within `graceful_timeout`.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import ssl
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.http import get_parser, wsgi
from gunicorn.http.errors import ParseException
from gunicorn.workers.ggevent import GeventWorker

from pocket_protocol.errors import PocketError
from relayer_web.connection import UNREAD_BODY, ClientConnection, ConnectionLimits, Shell
from relayer_web.grpc_sockets import DIRECTORY_VARIABLE, GrpcSockets
from relayer_web.http_head import Head, HeadLimits, RequestError
from relayer_web.splice import Http2Handover
from relayer_web.sweeper import Sweeper

if TYPE_CHECKING:
    from relayer_web.front_end import FrontEnd

DIRECT_VARIABLE: Final = "POCKET_RELAYER_DIRECT"  # "0": every request goes through Flask
BODY_CHUNK_BYTES: Final = 65536
RESTART_S: Final = 2.0
HEARTBEAT_S: Final = 1.0
DRAIN_CHECK_S: Final = 0.05
CUT_OFF_S: Final = 2.0


class RelayGeventWorker(GeventWorker):  # type: ignore[misc]
    """Serves connections with `ClientConnection`; what is no plain relay goes to the WSGI application."""

    def init_process(self) -> None:
        """Called in the new process; runs until the worker ends."""
        self.sweeper = Sweeper(lambda: not self.alive)
        self.front_end: FrontEnd | None = None
        self._stopping = Event()
        super().init_process()

    def load_wsgi(self) -> None:
        """Build the front end and its applications, now that the process is forked and patched.

        What makes the first workers fail ends gunicorn. A later worker is tried again: a key file half written when
        a worker has to be replaced must not end the others.
        """
        try:
            super().load_wsgi()
        except PocketError as error:
            if self.age <= self.cfg.workers:
                raise
            self.log.error("worker could not start: %s", error)
            gevent.sleep(RESTART_S)
            sys.exit(1)
        self._open_shell()

    def _open_shell(self) -> None:
        from relayer_web.front_end import current_front_end

        front_end = self.front_end = current_front_end()
        config = front_end.config
        extensions = config.extensions
        limits = ConnectionLimits(
            head=HeadLimits(
                extensions.max_header_count, extensions.max_header_bytes, extensions.max_url_bytes
            ),
            max_body_bytes=config.largest_body_bytes,
            client_timeout_s=extensions.client_timeout_seconds,
            idle_s=self.cfg.keepalive,
            max_buffered_bytes=max(ConnectionLimits().max_buffered_bytes, 2 * config.largest_body_bytes),
        )
        self.shell = Shell(
            limits=limits,
            relay=front_end.serve,
            http2=Http2Handover(
                GrpcSockets(os.environ.get(DIRECTORY_VARIABLE, "")).connect,
                self.sweeper,
                write_timeout_s=extensions.client_timeout_seconds,
            ).take,
            websocket=front_end.serve_websocket,
            on_unanswered=front_end.unanswered,
            sweeper=self.sweeper,
            is_stopping=lambda: not self.alive,
            direct=os.environ.get(DIRECT_VARIABLE, "1") != "0",
        )
        self.sweeper.start()
        front_end.start()

    def run(self) -> None:
        """Accept until told to stop; then finish what was begun, for `graceful_timeout` at most."""
        servers = [self._accepting(sock) for sock in self.sockets]
        while self.alive:
            self.notify()
            self._stopping.wait(HEARTBEAT_S)
        for server in servers:
            _accept_waiting(server)
            server.close()
        # The master kills what is left at its own time: those that are cut off need a moment to give back.
        deadline = time.monotonic() + max(self.cfg.graceful_timeout - CUT_OFF_S, 0)
        while any(server.pool.free_count() != server.pool.size for server in servers):
            if time.monotonic() > deadline:
                self.log.warning("connections are cut off: graceful timeout")
                for server in servers:
                    server.stop(timeout=CUT_OFF_S / 2)
                return
            self.notify()
            gevent.sleep(DRAIN_CHECK_S)

    def _accepting(self, sock: Any) -> StreamServer:
        sock.setblocking(True)
        server = StreamServer(sock, handle=partial(self.handle, sock), spawn=Pool(self.worker_connections))
        if self.cfg.workers > 1:
            server.max_accept = 1  # leave the next connection to whichever worker is free
        server.start()
        return server

    def handle(self, listener: socket.socket, client: socket.socket, addr: Any) -> None:
        """Serve one accepted connection to its end."""
        client.setblocking(True)
        takes_relays = not self._is_health_listener(listener)
        peer = addr[0] if isinstance(addr, tuple) else ""

        def through_wsgi(connection: ClientConnection, head: Head, keep_alive: bool) -> bool:
            return self._serve_through_wsgi(connection, head, keep_alive, (listener, addr, takes_relays))

        try:
            with contextlib.suppress(OSError):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ClientConnection(client, peer, self.shell, through_wsgi, takes_relays=takes_relays).run()
        except (OSError, ssl.SSLError):
            self.log.debug("connection ended")
        except Exception:
            self.log.exception("connection failed")
        finally:
            client.close()

    def handle_exit(self, sig: int, frame: Any) -> None:
        if self.front_end is not None:
            self.front_end.drain()
        super().handle_exit(sig, frame)
        self._stopping.set()

    def _is_health_listener(self, listener: socket.socket) -> bool:
        """The health address is bound second (gunicorn_conf)."""
        return len(self.sockets) > 1 and listener is self.sockets[1]

    def _serve_through_wsgi(
        self, connection: ClientConnection, head: Head, keep_alive: bool, origin: tuple[Any, Any, bool]
    ) -> bool:
        """Do one exchange with gunicorn's parser and the WSGI application; True when the connection stays."""
        listener, addr, takes_relays = origin
        parser = get_parser(self.cfg, connection.sock, addr)
        parser.unreader.unread(connection.buffer)
        connection.start_clock()
        try:
            request = next(parser)
            connection.continue_if_expected(head, has_body=len(connection.buffer) > head.size)
            body, oversize = self._whole_body(request)
            if len(body) < head.length:
                raise EOFError
        except (ParseException, OSError, EOFError, StopIteration):
            if connection.expired:
                raise RequestError(408, "request timeout") from None
            raise RequestError(400, UNREAD_BODY) from None
        finally:
            connection.stop_clock()
        request._expected_100_continue = False  # done; gunicorn would say it again
        request.body = io.BytesIO(body)
        request.headers = _first_of_each(request.headers)
        connection.buffer = parser.unreader.take_buffered()
        keep_alive = keep_alive and not oversize
        self._run_application(connection, request, keep_alive, (listener, addr, takes_relays, oversize))
        connection.served += 1
        return keep_alive

    def _whole_body(self, request: Any) -> tuple[bytes, bool]:
        """Read the body up to the limit. Returns it and whether there is more of it than allowed."""
        limit = self.shell.limits.max_body_bytes
        parts: list[bytes] = []
        size = 0
        while size <= limit:
            chunk = request.body.read(min(BODY_CHUNK_BYTES, limit + 1 - size))
            if not chunk:
                return b"".join(parts), False
            parts.append(chunk)
            size += len(chunk)
        return b"", True

    def _run_application(
        self,
        connection: ClientConnection,
        request: Any,
        keep_alive: bool,
        origin: tuple[Any, Any, bool, bool],
    ) -> None:
        listener, addr, takes_relays, oversize = origin
        response, environ = wsgi.create(request, connection.sock, addr, listener.getsockname(), self.cfg)
        environ["wsgi.multithread"] = True
        environ["relayer.takes_relays"] = takes_relays
        environ["relayer.oversize"] = oversize
        if not keep_alive:
            response.force_close()
        chunks = self.wsgi(environ, response.start_response)
        try:
            for chunk in chunks:
                if chunk:
                    with connection.writing(len(chunk)):
                        response.write(chunk)
                else:
                    connection.check_client()
                    response.send_headers()
            with connection.writing(0):
                response.close()
        finally:
            if hasattr(chunks, "close"):
                chunks.close()


def _accept_waiting(server: StreamServer) -> None:
    """Serve those who are connected and not accepted yet: closing the last listener would reset them."""
    server.stop_accepting()
    with contextlib.suppress(OSError):
        while not server.full() and (accepted := server.do_read()):
            server.do_handle(*accepted)


def _first_of_each(headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What the direct way passes on of repeated headers: the first."""
    first: dict[str, tuple[str, str]] = {}
    for name, value in headers:
        first.setdefault(name.lower(), (name, value))
    return list(first.values())
