"""An authority of the tests' own, and an ending for TLS before a server that has none.

The embedded server is built without TLS; what is tried with it is our side of the handshake.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Files of one authority: its own certificate, a server's for a name, a client's."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    @property
    def own(self) -> str:
        """The options of a store URL that trust this authority and show the client's certificate."""
        return f"ssl_ca_certs={self.authority}&ssl_certfile={self.client}&ssl_keyfile={self.client_key}"


def make_certificates(directory: Path, *, name: str = "127.0.0.1") -> Certificates:
    """Make an authority and two certificates that it signed."""
    directory.mkdir(parents=True, exist_ok=True)
    made = Certificates(
        *(directory / file for file in ("ca.pem", "server.pem", "server.key", "client.pem", "client.key"))
    )
    authority = trustme.CA()
    authority.cert_pem.write_to_path(made.authority)
    for leaf, certificate, key in (
        (authority.issue_cert(name), made.server, made.server_key),
        (authority.issue_cert("miner"), made.client, made.client_key),
    ):
        leaf.cert_chain_pems[0].write_to_path(certificate)
        leaf.private_key_pem.write_to_path(key)
    return made


@contextmanager
def tls_ending(certificates: Certificates, target_port: int) -> Iterator[int]:
    """Serve TLS before `target_port`, to clients with a certificate of the same authority; give the port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.authority)
    context.load_cert_chain(certificates.server, certificates.server_key)
    context.verify_mode = ssl.CERT_REQUIRED
    loop = asyncio.new_event_loop()
    writers: list[asyncio.StreamWriter] = []

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target_port)
        writers.append(inner_writer)
        copies = [_copy(reader, inner_writer), _copy(inner_reader, writer)]
        await asyncio.wait([loop.create_task(copy) for copy in copies], return_when=asyncio.FIRST_COMPLETED)
        for each in (writer, inner_writer):
            each.close()

    async def end() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:  # those that wait for the other side's goodbye, too
            writer.transport.abort()
        await asyncio.sleep(0.01)  # transports are closed by the loop's next turns

    server = loop.run_until_complete(asyncio.start_server(joined, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        return
