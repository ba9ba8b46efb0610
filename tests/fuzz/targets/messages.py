"""Decoders of the protocol core: what they take is written again and read again, and comes out the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from google.protobuf.message import Message

from localnet.proofs import read_proof
from pocket_protocol import envelope, gob, grpc_frames, relay, stream_frame
from pocket_protocol.address import BadAddress, decode_bech32, encode_bech32, parse_address
from pocket_protocol.closest_proof import BadClosestProof, ClosestProof, verify, verify_strict
from pocket_protocol.errors import Malformed
from pocket_protocol.pb.pocket.proof_pb2 import MsgCreateClaim, MsgSubmitProof
from pocket_protocol.pb.pocket.service_pb2 import Relay, RelayRequest, RelayResponse
from pocket_protocol.proof_messages import validate_create_claim, validate_submit_proof
from pocket_protocol.wire import decode, decode_strict, encode
from tests.fuzz.corpus import golden, recorded_files, spread
from tests.fuzz.target import Attempt, Target
from tests.vectors import load

PROTOBUF_WORDS = (
    b"\x0a\x00",
    b"\x7b\x7c",
    b"\x0a\xff\xff\xff\xff\x07",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xc3\x28",
    b"\xed\xa0\x80",
)
LIVE = ("chain_tx", "chain_live", "chain_live2")


def plain(attempt: Attempt) -> Callable[[], AbstractContextManager[Attempt]]:
    """An attempt that needs nothing set up."""

    @contextmanager
    def opened() -> Iterator[Attempt]:
        yield attempt

    return opened


def decoded(message_type: type[Message], data: bytes, *, strict: bool) -> Message | None:
    """A message that reads the same when it is written again; None for bytes that are none."""
    read = decode_strict if strict else decode
    try:
        message = read(message_type, data)
    except Malformed:
        return None
    again = encode(message)
    assert read(message_type, again) == message, "decode, encode, decode disagree"
    assert encode(read(message_type, again)) == again, "written twice, it differs"
    return message


def try_relays(data: bytes) -> bool:
    request = decoded(RelayRequest, data, strict=True)
    response = decoded(RelayResponse, data, strict=True)
    mined = decoded(Relay, data, strict=True)
    if isinstance(request, RelayRequest):
        assert relay.decode_request(relay.encode_request(request)) == request
        relay.signable_request(request)
        with suppress(Malformed):
            relay.validate_request(request)
    if isinstance(response, RelayResponse):
        assert relay.decode_response(relay.encode_response(response)) == response
        relay.signable_response(response)
        with suppress(Malformed):
            relay.validate_response(response)
    return (request or response or mined) is not None


def try_envelopes(data: bytes) -> bool:
    taken = False
    with suppress(Malformed):
        request = envelope.decode_http_request(data)
        taken = True
        written = envelope.encode_http_request(request)
        if written:  # an empty one is refused (decisions D7)
            assert envelope.decode_http_request(written) == request
    with suppress(Malformed):
        response = envelope.decode_http_response(data)
        taken = True
        assert envelope.decode_http_response(envelope.encode_http_response(response)) == response
        pairs = [(name, value) for name, values in response.headers for value in values]
        grouped = envelope.grouped_headers(pairs)
        again = [(name, value) for name, values in grouped for value in values]
        assert envelope.grouped_headers(again) == grouped
    return taken


def try_gob(data: bytes) -> bool:
    """The last 48 bytes are the root, the others the proof."""
    proof_bytes, root = data[:-48], data[-48:]
    try:
        compact = gob.decode(proof_bytes)
    except gob.BadGob:
        return False
    if compact.proof is not None:
        assert gob.decode(gob.encode(compact)) == compact
    with suppress(ValueError):
        read_proof(proof_bytes)
    try:
        proof = ClosestProof.from_bytes(proof_bytes)
        assert ClosestProof.from_bytes(proof.to_bytes()) == proof
        is_strict = verify_strict(proof, root)
    except (Malformed, BadClosestProof):
        return False
    assert verify(proof, root) or not is_strict, "the stricter check takes what the chain refuses"
    return is_strict


def gob_seeds() -> list[bytes]:
    smst = load("smst")
    proofs = [
        bytes.fromhex(closest["proof"]) + bytes.fromhex(tree["root"])
        for tree in (*smst["large"], *smst["trees"])
        for closest in tree["closest"]
        if closest.get("proof")
    ]
    other_ids = [bytes.fromhex(pair["same_proof_other_type_ids"]) for pair in smst["gob_other_type_ids"]]
    return spread(proofs, 200) + [one + bytes(48) for one in other_ids]


def try_grpc_frames(data: bytes) -> bool:
    taken = False
    flags = (grpc_frames.PLAIN, grpc_frames.COMPRESSED, grpc_frames.TRAILERS)
    with suppress(grpc_frames.BrokenFrames):
        frames = grpc_frames.split_frames(data, flags)
        taken = True
        assert b"".join(grpc_frames.encode_frame(frame.message, frame.flag) for frame in frames) == data
    text = data.decode("latin-1")
    encoded = grpc_frames.encode_status_text(text)
    assert encoded.isascii() and encoded.isprintable()
    assert grpc_frames.decode_status_text(encoded) == text
    grpc_frames.decode_status_text(text)
    whole, pieces = stream_frame.FrameDecoder(4096), stream_frame.FrameDecoder(4096)
    try:
        found = whole.feed(data)
    except stream_frame.FrameTooLarge:
        return taken
    assert [frame for byte in data for frame in pieces.feed(bytes((byte,)))] == found
    with suppress(stream_frame.FrameCutOff):
        whole.finish()
    return taken


def try_proof_messages(data: bytes) -> bool:
    taken = False
    claim = decoded(MsgCreateClaim, data, strict=False)
    proof = decoded(MsgSubmitProof, data, strict=False)
    if isinstance(claim, MsgCreateClaim):
        with suppress(Malformed):
            validate_create_claim(claim)
            taken = True
    if isinstance(proof, MsgSubmitProof):
        with suppress(Malformed):
            validate_submit_proof(proof)
            taken = True
        with suppress(ValueError):
            read_proof(proof.proof)
    return taken


def try_address(data: bytes) -> bool:
    text = data.decode("utf-8", "surrogateescape")
    with suppress(BadAddress):
        parse_address(text)
    try:
        prefix, payload = decode_bech32(text)
    except BadAddress:
        return False
    assert encode_bech32(prefix, payload) == text.lower()
    return True


def address_seeds() -> list[bytes]:
    found = []

    def look(document: object) -> None:
        if isinstance(document, dict):
            for value in document.values():
                look(value)
        elif isinstance(document, list):
            for item in document:
                look(item)
        elif isinstance(document, str) and "1" in document and len(document) < 200:
            found.append(document.encode())

    look(load("chain_address"))
    return spread(found)


def relay_seeds() -> list[bytes]:
    found = list(golden("chain_relays", "marshaled_hex", "input_hex", "reencoded_hex"))
    found += golden("relay_signing", "request", "signed_response", "unsigned_response")
    found += recorded_files("localnet/relays/*/*request*.bin", 4096)
    return spread(found, 300)


def envelope_seeds() -> list[bytes]:
    payloads = golden("chain_relays", "payload_hex", "marshaled_hex")
    return spread((*payloads, *recorded_files("localnet/relays/*/*payload*.bin", 4096)), 300)


def frame_seeds() -> list[bytes]:
    messages = relay_seeds()[:40]
    return [
        *(grpc_frames.encode_frame(message) for message in messages),
        grpc_frames.encode_frame(messages[0]) + grpc_frames.encode_trailers([("grpc-status", "0")]),
        b"".join(stream_frame.encode_frame(message) for message in messages[:5]),
        b"%E2%82%AC 100%25 %zz",
    ]


def message_seeds() -> list[bytes]:
    return spread((raw for name in LIVE for raw in golden(name, "value_hex")), 200)


RELAYS = Target(relay_seeds, plain(try_relays), PROTOBUF_WORDS)
ENVELOPES = Target(envelope_seeds, plain(try_envelopes), PROTOBUF_WORDS)
GOB = Target(gob_seeds, plain(try_gob), (b"\xff\x80", b"\xf8" + b"\xff" * 8, b"\x01\x0a\x00", bytes(48)))
GRPC_FRAMES = Target(frame_seeds, plain(try_grpc_frames), (b"||POKT_STREAM||", b"\x80", b"%", b"\xff" * 4))
PROOF_MESSAGES = Target(message_seeds, plain(try_proof_messages), PROTOBUF_WORDS)
ADDRESSES = Target(address_seeds, plain(try_address), (b"pokt1", b"1", b"q" * 60, "é".encode()), 1100)
