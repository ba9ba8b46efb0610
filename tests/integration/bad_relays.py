"""Bodies that must not be served: what is no relay, relays for somebody else, forged signatures.

Each row: a name, how to make the body, the status, and the beginning of the text (the whole of it where it ends
with a full stop mark `$`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from pocket_protocol import relay as relay_protocol
from pocket_protocol import ring as ring_module
from pocket_protocol.curve import ORDER
from pocket_protocol.pb.pocket.service_pb2 import RelayRequest
from pocket_protocol.ring import RingMember, RingSignatureInvalid, encode_ring, parse_ring, verify_ring
from pocket_protocol.ring_members import PLACEHOLDER_PUBLIC_KEY, PLACEHOLDER_SECRET_TEXT
from pocket_protocol.signer import PrivateKey
from relay_cli.relay.client import fresh_scalars
from tests.integration.sender import Sender, address, changed, curve, json_call, public_key

NO_RELAY = "invalid relay request: body must be a valid RelayRequest protobuf$"
FAILED = "relay validation failed: "
RING = FAILED + "ring signature verification failed: "
UNREADABLE = RING + "error deserializing ring signature: "
FALSE = RING + "invalid relay request signature or bytes: invalid relay request signature$"
FOREIGN = RING + "ring signature in the relay request does not match the expected one for the app "
FORBIDDEN = "the inner request may not be sent on$"


@dataclass(frozen=True)
class Row:
    """A body and what is said about it."""

    name: str
    body: Callable[[Sender], bytes | RelayRequest]
    status: int
    text: str

    def encoded(self, sender: Sender) -> bytes:
        made = self.body(sender)
        return made if isinstance(made, bytes) else relay_protocol.encode_request(made)

    def matches(self, text: str) -> bool:
        return text == self.text[:-1] if self.text.endswith("$") else text.startswith(self.text)


def good(sender: Sender) -> bytes:
    return relay_protocol.encode_request(sender.request("good"))


def without_header(sender: Sender) -> RelayRequest:
    request = sender.request("good")
    request.meta.ClearField("session_header")
    return request


def with_supplier(sender: Sender, supplier: str) -> RelayRequest:
    request = sender.request("good")
    request.meta.supplier_operator_address = supplier
    return sender.sign(request, "gateway1", sender.session("good").ring)


def not_utf8(sender: Sender) -> bytes:
    return good(sender).replace(address("supplier1").encode()[:8], b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8")


NOT_RELAYS = [
    Row("nothing", lambda s: b"", 400, NO_RELAY),
    Row("garbage", lambda s: b"\xff\x00garbage" * 50, 400, NO_RELAY),
    Row("JSON", lambda s: b'{"jsonrpc":"2.0","method":"eth_blockNumber","id":1}', 400, NO_RELAY),
    Row("cut in the payload", lambda s: good(s)[:-10], 400, NO_RELAY),
    Row("cut in the header", lambda s: good(s)[:60], 400, NO_RELAY),
    Row("length beyond the end", lambda s: b"\x0a\xff\xff\xff\xff\x07" + good(s), 400, NO_RELAY),
    Row("length of more than 64 bits", lambda s: b"\x0a" + b"\xff" * 11, 400, NO_RELAY),
    Row("field number 0", lambda s: good(s) + b"\x02\x01x", 400, NO_RELAY),
    Row("wrong wire type of the payload", lambda s: good(s) + b"\x10\x05", 400, NO_RELAY),
    Row("unended group", lambda s: good(s) + b"\x7b", 400, NO_RELAY),
    Row("groups in groups", lambda s: good(s) + b"\x7b" * 5000 + b"\x7c" * 5000, 400, NO_RELAY),
    Row("not UTF-8", not_utf8, 400, NO_RELAY),
    Row("no session header", without_header, 400, NO_RELAY),
    Row("no service", lambda s: s.request("good", header={"service_id": ""}), 400, NO_RELAY),
    Row("empty payload", lambda s: s.request("good", payload=b""), 400, NO_RELAY),
    Row("payload of something else", lambda s: s.request("good", payload=b"\xff\xffnot HTTP"), 400, NO_RELAY),
    Row("cut payload", lambda s: s.request("good", payload=b"\x0a\x10POST"), 400, NO_RELAY),
]

FOR_OTHERS = [
    Row("no supplier", lambda s: with_supplier(s, ""), 400, "missing supplier operator address in relay request$"),
    Row("unknown supplier", lambda s: with_supplier(s, "pokt1nobody"), 503, "supplier pokt1nobody not registered with any miner$"),
    Row("supplier we hold no key of", lambda s: s.request("good", supplier="supplier2"), 503, "supplier pokt1"),
    Row("registered supplier that is not ours", lambda s: s.request("good", supplier="supplier3"), 403, FAILED + "supplier pokt1"),
    Row("supplier outside the session", lambda s: s.request("good", supplier="stranger"), 403, FAILED + f"supplier {address('stranger')} not found in session$"),
    Row("unknown service", lambda s: s.request("good", header={"service_id": "nonesuch"}), 404, "unknown service: nonesuch$"),
    Row("service with a quote", lambda s: s.request("good", header={"service_id": 'a"b\\\n'}), 404, 'unknown service: a"b\\\n$'),
    Row("another service's application", lambda s: s.request("good", header={"application_address": address("app2")}, ring=s.session("small").ring), 403, FAILED),
    Row("application that does not exist", lambda s: s.request("good", header={"application_address": address("stranger")}), 403, FAILED),
    Row("address that is none", lambda s: s.request("good", header={"application_address": "pokt1"}), 403, FAILED),
    Row("another service's session", lambda s: s.request("good", header={"service_id": "small"}), 403, FAILED),
    Row("wrong session id", lambda s: s.request("good", header={"session_id": "ab" * 32}), 403, FAILED + "session ID mismatch, expected: "),
    Row("no session id", lambda s: s.request("good", header={"session_id": ""}), 403, FAILED + "basic validation failed: "),
    Row("session id of 100 kB", lambda s: s.request("good", header={"session_id": "a" * 100_000}), 403, FAILED),
    Row("wrong start", lambda s: s.request("good", header={"session_start_block_height": 23}), 403, FAILED + "session header session start height mismatch, expecting: 21, got: 23$"),
    Row("wrong end", lambda s: s.request("good", header={"session_end_block_height": 29}), 403, FAILED + "session header session end height mismatch, expecting: 30, got: 29$"),
    Row("start 0", lambda s: s.request("good", header={"session_start_block_height": 0}), 400, "implausible session heights$"),
    Row("negative start", lambda s: s.request("good", header={"session_start_block_height": -5}), 400, "implausible session heights$"),
    Row("end before start", lambda s: s.request("good", header={"session_end_block_height": 20}), 400, "implausible session heights$"),
    Row("session of 20 000 blocks", lambda s: s.request("good", header={"session_end_block_height": 20_021}), 400, "implausible session heights$"),
    Row("largest heights", lambda s: s.request("good", header={"session_start_block_height": 2**63 - 2, "session_end_block_height": 2**63 - 1}), 400, "implausible session heights$"),
    Row("expired session", lambda s: s.request("good", height=15), 403, FAILED + "session timing validation failed: session expired, session end height: 20, current height: 25 (grace period elapsed)$"),
    Row("future session", lambda s: s.request("good", header={"session_start_block_height": 31, "session_end_block_height": 40}), 503, "service temporarily unavailable$"),
]  # fmt: skip


def set_bytes(offset: int, value: bytes) -> Callable[[bytearray], None]:
    def change(signature: bytearray) -> None:
        signature[offset : offset + len(value)] = value

    return change


def flip(offset: int) -> Callable[[bytearray], None]:
    def change(signature: bytearray) -> None:
        signature[offset] ^= 1

    return change


def forged(change: Callable[[bytearray], None]) -> Callable[[Sender], RelayRequest]:
    return lambda sender: changed(sender.request("good"), change)


def swap(first: int, second: int, size: int) -> Callable[[bytearray], None]:
    def change(signature: bytearray) -> None:
        one, other = signature[first : first + size], signature[second : second + size]
        signature[first : first + size], signature[second : second + size] = other, one

    return change


def repeated_members(count: int) -> Callable[[Sender], RelayRequest]:
    """More members than are verified, all of them the application's own keys."""

    def make(sender: Sender) -> RelayRequest:
        request = sender.request("good")
        ring = parse_ring(request.meta.signature)
        members = [RingMember(m.scalar, m.public_key) for m in ring.members] * (count // 2)
        request.meta.signature = encode_ring(int.from_bytes(ring.challenge, "big"), ring.key_image, members)
        return request

    return make


def payload_changed(sender: Sender) -> RelayRequest:
    request = sender.request("good")
    request.payload = sender.request("good", inner=json_call("/other")).payload
    return request


def signature_of_another(sender: Sender) -> RelayRequest:
    request = sender.request("good", inner=json_call("/other"))
    request.meta.signature = sender.request("good").meta.signature
    return request


def readdressed(sender: Sender) -> RelayRequest:
    request = sender.request("good", supplier="supplier2")
    request.meta.supplier_operator_address = address("supplier1")
    return request


def image_of(role: str) -> Callable[[Sender], RelayRequest]:
    def make(sender: Sender) -> RelayRequest:
        other = sender.request("good", signer=role, ring=[public_key(role), public_key("app1")])
        image = parse_ring(other.meta.signature).key_image
        return changed(sender.request("good"), set_bytes(36, image))

    return make


def right_aligned(message: bytes) -> int:
    """The challenge as a signer without the network's quirk computes it (spec/signatures.md §3.1)."""
    return int.from_bytes(hashlib.sha3_512(message).digest(), "big") % ORDER


@contextmanager
def signing_without_the_quirk() -> Iterator[None]:
    with patch.object(ring_module, "hash_to_scalar", right_aligned):
        yield


def right_aligned_challenge(sender: Sender) -> RelayRequest:
    """One signature in 128 of such a signer is refused: sign until it is that one."""
    session = sender.session("good")
    request = sender.request("good")
    while True:
        with signing_without_the_quirk():
            sender.sign(request, "gateway1", session.ring)
        message = relay_protocol.signable_request(request)
        try:
            verify_ring(curve(), message, request.meta.signature, frozenset(session.ring))
        except RingSignatureInvalid:
            return request


def placeholder_ring(sender: Sender) -> RelayRequest:
    """Whoever knows the public placeholder's key signs for an application that has a gateway."""
    request = sender.request("good")
    request.meta.signature = b""
    message = relay_protocol.signable_request(request)
    secret = PrivateKey.from_secret_text(PLACEHOLDER_SECRET_TEXT).reveal()
    ring = [PLACEHOLDER_PUBLIC_KEY, public_key("app1")]
    request.meta.signature = ring_module.sign_ring(curve(), message, secret, ring, fresh_scalars())
    return request


NOT_A_POINT = b"\x02" + b"\xff" * 32
FORGED = [
    Row("no signature", forged(lambda s: s.clear()), 403, FAILED + "basic validation failed: missing application signature"),
    Row("3 bytes", forged(lambda s: s.__delitem__(slice(3, None))), 403, UNREADABLE + "input too short"),
    Row("no members", forged(set_bytes(0, bytes(4))), 403, UNREADABLE),
    Row("more members than bytes", forged(set_bytes(0, b"\0\0\0\3")), 403, UNREADABLE),
    Row("2^32-1 members", forged(set_bytes(0, b"\xff" * 4)), 403, UNREADABLE + "input too short"),
    Row("cut in a scalar", forged(lambda s: s.__delitem__(slice(150, None))), 403, UNREADABLE),
    Row("cut in the key image", forged(lambda s: s.__delitem__(slice(50, None))), 403, UNREADABLE),
    Row("34 members", repeated_members(34), 403, RING + "ring signature has too many members"),
    Row("1000 members", repeated_members(1000), 403, RING + "ring signature has too many members"),
    Row("challenge flipped", forged(flip(20)), 403, FALSE),
    Row("scalar flipped", forged(flip(80)), 403, FALSE),
    Row("last scalar flipped", forged(flip(140)), 403, FALSE),
    Row("scalars swapped", forged(swap(69, 134, 32)), 403, FALSE),
    Row("members swapped", forged(swap(69, 134, 65)), 403, FALSE),
    Row("key image that is no point", forged(set_bytes(36, NOT_A_POINT)), 403, UNREADABLE),
    Row("key image at infinity", forged(set_bytes(36, bytes(33))), 403, UNREADABLE),
    Row("key image negated", forged(flip(36)), 403, FALSE),
    Row("key image of another key", image_of("supplier2"), 403, FALSE),
    Row("member that is no point", forged(set_bytes(101, NOT_A_POINT)), 403, FOREIGN),
    Row("member negated", forged(flip(101)), 403, FOREIGN),
    Row("a foreign member", lambda s: s.request("good", ring=[*s.session("good").ring, public_key("stranger")]), 403, FOREIGN),
    Row("a foreign ring", lambda s: s.request("good", signer="stranger", ring=[public_key("stranger"), public_key("supplier2")]), 403, FOREIGN),
    Row("a foreign signer with the application", lambda s: s.request("good", signer="stranger", ring=[public_key("stranger"), public_key("app1")]), 403, FOREIGN),
    Row("another application's ring", lambda s: s.request("good", signer="gateway1", ring=[public_key("gateway1"), public_key("app2")]), 403, FOREIGN),
    Row("the placeholder", placeholder_ring, 403, FOREIGN),
    Row("right-aligned challenge", right_aligned_challenge, 403, FALSE),
    Row("payload changed", payload_changed, 403, FALSE),
    Row("another relay's signature", signature_of_another, 403, FALSE),
    Row("another supplier's relay", readdressed, 403, FALSE),
    Row("random signature", forged(lambda s: s.__setitem__(slice(4, None), hashlib.shake_256(b"x").digest(195))), 403, RING),
]  # fmt: skip


def inner(**changes: object) -> Callable[[Sender], RelayRequest]:
    return lambda sender: sender.request("good", inner=json_call(**changes))


def inner_headers(*headers: tuple[str, tuple[str, ...]]) -> Callable[[Sender], RelayRequest]:
    return inner(headers=headers)


INNER = [
    Row("CR LF in a header's value", inner_headers(("X-A", ("a\r\nHost: b",))), 400, FORBIDDEN),
    Row("LF in a header's name", inner_headers(("X\nA", ("a",))), 400, FORBIDDEN),
    Row("NUL in a header's value", inner_headers(("X-A", ("a\0b",))), 400, FORBIDDEN),
    Row("blank in a header's name", inner_headers(("X A", ("a",))), 400, FORBIDDEN),
    Row("colon in a header's name", inner_headers(("X:A", ("a",))), 400, FORBIDDEN),
    Row("empty header name", inner_headers(("", ("a",))), 400, FORBIDDEN),
    Row("too many headers", inner_headers(*((f"X-{n}", ("a",)) for n in range(200))), 400, FORBIDDEN),
    Row("header too large", inner_headers(("X-A", ("a" * 70_000,))), 400, FORBIDDEN),
    Row("method with a blank", inner(method="GE T"), 400, FORBIDDEN),
    Row("method with a request in it", inner(method="GET / HTTP/1.1\r\nX: y\r\n\r\nPOST"), 400, FORBIDDEN),
    Row("CONNECT", inner(method="CONNECT"), 400, FORBIDDEN),
    Row("method of 100 kB", inner(method="A" * 100_000), 400, FORBIDDEN),
    Row("URL with CR LF", inner(url="/a HTTP/1.1\r\nX: y\r\n\r\n"), 400, FORBIDDEN),
    Row("URL with NUL", inner(url="/a\0b"), 400, FORBIDDEN),
    Row("URL of 20 kB", inner(url="/" + "a" * 20_000), 400, FORBIDDEN),
    Row("path hidden by encoded slashes", inner(url="/..%2f..%2fetc/passwd"), 400, FORBIDDEN),
    Row("path hidden by backslashes", inner(url="/..\\..\\etc"), 400, FORBIDDEN),
]  # fmt: skip


def asked(service: str, url: str) -> Callable[[Sender], RelayRequest]:
    return lambda sender: sender.request(service, inner=json_call(url))


BACKENDS = [
    Row("nobody listens", asked("dead", "/"), 502, "backend error$"),
    Row("too slow", asked("hasty", "/test/slow/3000"), 502, "backend error$"),
    Row("answer too large", asked("failing", "/test/big/1100000"), 502, "backend error$"),
    Row("connection closed without an answer", asked("failing", "/test/close"), 502, "backend error$"),
    Row("status 500", asked("broken", "/test/status/500"), 500, "backend service error$"),
    Row("status 503", asked("broken", "/test/status/503"), 503, "backend service error$"),
]  # fmt: skip
