"""The node's gRPC server: all methods by generic handlers, with the real status codes and texts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any, NoReturn

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from localnet import grpc_cosmos, grpc_queries
from localnet.chain import NoSuchHeight
from localnet.http_server import AddressTaken
from localnet.node_view import NodeView, Refusing
from localnet.registered_errors import StatusRefused
from pocket_protocol.wire import Undecodable, decode, encode

HEIGHT_KEY = "x-cosmos-block-height"
MAX_MESSAGE_BYTES = 100_000_000
_THREADS = 32

QUERIES = grpc_queries.QUERIES | grpc_cosmos.QUERIES


def _request_type(path: str) -> type[Message]:
    service, _, method = path[1:].partition("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
    return GetMessageClass(found.input_type)


def _wanted_height(context: grpc.ServicerContext) -> int:
    for key, value in context.invocation_metadata() or ():
        if key == HEIGHT_KEY and str(value).isdigit():
            return int(value)
    return 0


class _Methods(grpc.GenericRpcHandler):
    """Finds the function of a path; says the network's words about a path that has none."""

    def __init__(self, view: NodeView) -> None:
        self.view = view
        self._handlers = {path: self._handler(path) for path in (*QUERIES, *grpc_cosmos.CALLS)}
        self._services = {path[1:].partition("/")[0] for path in self._handlers}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return self._handlers.get(details.method) or self._unknown(details.method)

    def _unknown(self, path: str) -> grpc.RpcMethodHandler:
        service, _, method = path[1:].partition("/")
        text = f"unknown service {service}"
        if service in self._services:
            text = f"unknown method {method} for service {service}"

        def refuse(request: bytes, context: grpc.ServicerContext) -> NoReturn:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, text)

        return grpc.unary_unary_rpc_method_handler(refuse)

    def _handler(self, path: str) -> grpc.RpcMethodHandler:
        kind = _request_type(path)

        def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                self.view.admit(path)
                return self._answer(path, decode(kind, data), context)
            except Undecodable as error:
                context.abort(grpc.StatusCode.INTERNAL, str(error))
            except Refusing as error:
                context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            except NoSuchHeight as error:
                text = f"failed to load state at height {error}: version does not exist"
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
            except StatusRefused as error:
                context.abort(error.status, error.text)

        return grpc.unary_unary_rpc_method_handler(answer)

    def _answer(self, path: str, request: Any, context: grpc.ServicerContext) -> bytes:
        read = self.view.context(_wanted_height(context))
        context.send_initial_metadata(((HEIGHT_KEY, str(read.height)),))
        call: Callable[[NodeView, Any], Message] | None = grpc_cosmos.CALLS.get(path)
        if call is not None:
            return encode(call(self.view, request))
        return encode(QUERIES[path](read, request))


class GrpcServer:
    """The gRPC side of one node; `address` is where it really listens."""

    def __init__(self, address: str, view: NodeView) -> None:
        """Listen at once. Raises `AddressTaken`."""
        options = [
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ]
        self._server = grpc.server(
            futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="grpc"), options=options
        )
        self._server.add_generic_rpc_handlers((_Methods(view),))
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise AddressTaken(f"cannot listen on {address}: address already in use") from error
        self.address = f"{address.rpartition(':')[0] or '127.0.0.1'}:{port}"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop(grace=0.5).wait(2)
