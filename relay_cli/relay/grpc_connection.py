"""Relays over gRPC, for one thread (spec/relayer.md §8.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import grpc

from operations.setting import redacted
from relay_cli.relay.outcome import RelayRefused, RelayUndelivered

SEND_RELAY: Final = "/pocket.service.RelayService/SendRelay"
RPC_TYPE: Final = ("rpc-type", "1")
MAX_ANSWER_BYTES: Final = 100 << 20
_PORTS: Final = {"http": 80, "grpc": 80, "https": 443, "grpcs": 443}
_SHOWN_CHARACTERS: Final = 300


class GrpcConnection:
    """Sends relays to `url` (http, https, grpc or grpcs) as calls of SendRelay; the library dials as needed."""

    def __init__(self, url: str, timeout_s: float, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
            raise ValueError("a relayer's URL is http(s):// or grpc(s)://host:port without credentials")
        self.shown_url = redacted(url)
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._target = f"{host}:{parts.port or _PORTS[parts.scheme]}"
        self._is_secure = parts.scheme in ("https", "grpcs")
        self._timeout_s = timeout_s
        self._metadata = [RPC_TYPE, *((name.lower(), value) for name, value in (headers or {}).items())]
        self._channel: Any = None

    def exchange(self, encoded: bytes) -> bytes:
        """Return the response message. Raises `RelayUndelivered`, `RelayRefused`."""
        call = self._opened().unary_unary(SEND_RELAY)
        try:
            answer: bytes = call(encoded, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise self._failure(error.code(), error.details() or "") from None
        return answer

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _opened(self) -> Any:
        if self._channel is None:
            options = [
                ("grpc.use_local_subchannel_pool", 1),
                ("grpc.enable_http_proxy", 0),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
            ]
            if self._is_secure:
                credentials = grpc.ssl_channel_credentials()
                self._channel = grpc.secure_channel(self._target, credentials, options)
            else:
                self._channel = grpc.insecure_channel(self._target, options)
        return self._channel

    def _failure(self, code: grpc.StatusCode, text: str) -> RelayRefused | RelayUndelivered:
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return RelayUndelivered(f"{self.shown_url}: timed out")
        if text.startswith(("failed to connect", "Stream removed", "Socket closed")):
            return RelayUndelivered(f"{self.shown_url}: {text[:_SHOWN_CHARACTERS]}")
        return RelayRefused(f"gRPC {code.name}: {text[:_SHOWN_CHARACTERS]}")
