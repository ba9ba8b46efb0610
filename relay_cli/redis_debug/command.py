"""`pocket-relay-miner redis-debug`: what the store holds, for operators (spec/miner.md §9).

Most subcommands only read. `cache`, `flush`, `requeue` and `import-sessions` write, and say so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from operations.config_file import ConfigInvalid
from pocket_protocol.errors import PocketError
from relay_cli.lazy_group import LazyCommand, LazyGroup
from relay_cli.redis_debug.deployment import open_deployment
from relay_store.store_errors import store_errors


def _in(module: str, summary: str) -> LazyCommand:
    return LazyCommand(f"relay_cli.redis_debug.{module}:{module}", summary)


COMMANDS: Final[dict[str, LazyCommand]] = {
    "ledger": _in("ledger", "What became of every relay and every uPOKT."),
    "sessions": _in("sessions", "Sessions: state, relays, claim and settlement."),
    "submissions": _in(
        "submissions", "Claims and proofs as they were sent, and what the chain made of them."
    ),
    "smst": _in("smst", "The tree of a session, and whether it is sound."),
    "streams": _in("streams", "Relay streams: entries waiting, pending, and who reads them."),
    "dead": _in("dead", "Stream entries that could not become leaves, and why."),
    "requeue": LazyCommand(
        "relay_cli.redis_debug.requeue:requeue_letters", "Put dead letters back into their streams. Writes."
    ),
    "leader": _in("leader", "The beat that ticks, the reference's leader, and the nodes."),
    "supplier": _in("supplier", "Who owns which supplier, and what relayers are told of it."),
    "meter": _in("meter", "What sessions have used of their limits."),
    "pubsub": _in("pubsub", "Listen to a channel."),
    "keys": _in("keys", "Names of keys, and how many there are of each kind."),
    "cache": _in("cache", "Look at cached entities, or have them forgotten. May write."),
    "flush": _in("flush", "Delete keys, after a typed confirmation. Writes."),
    "import-sessions": _in("import_sessions", "Take over the open sessions of a reference miner. Writes."),
}


class StoreGroup(LazyGroup):
    """A group whose subcommands may let the errors of the store and of our own pass."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with store_errors():
                return super().invoke(ctx)
        except (ConfigInvalid, PocketError) as error:
            raise click.ClickException(str(error)) from None


@click.group("redis-debug", cls=StoreGroup, table=COMMANDS)
@click.option(
    "--redis",
    "redis_url",
    default="",
    metavar="URL",
    help="The store.  [default: the file's, or redis://localhost:6379]",
)
@click.option(
    "--config", type=click.Path(path_type=Path), help="A miner.yaml or relayer.yaml: store and key names."
)
@click.pass_context
def redis_debug(context: click.Context, redis_url: str, config: Path | None) -> None:
    """Look into the store: sessions, streams, leases, caches. What writes says so.

    There is no `dedup`: a relay's path in its session's tree is what tells a repetition (see smst), no set beside it.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml sessions
      pocket-relay-miner redis-debug --redis redis://127.0.0.1:6390/0 streams --json
      pocket-relay-miner redis-debug COMMAND --help
    """
    deployment = open_deployment(redis_url, config)
    context.obj = deployment
    context.call_on_close(deployment.store.close)
