"""`redis-debug pubsub`: what is published on a channel (spec/miner.md §5.2)."""

from __future__ import annotations

import itertools
import json
from datetime import datetime

import click

from relay_cli.redis_debug.deployment import Deployment
from relay_cli.stop_signals import stop_requested
from relay_cli.tables import printable
from relay_store.subscription import Subscription

CONFIRM_S = 10.0


@click.command("pubsub")
@click.option("--channel", "channels", multiple=True, required=True, help="May be given more than once.")
@click.option("--duration", default=0.0, type=click.FloatRange(0), metavar="SECONDS", help="0: until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a message.")
@click.pass_obj
def pubsub(deployment: Deployment, channels: tuple[str, ...], duration: float, as_json: bool) -> None:
    """Print what is published on channels, as it comes. A lost connection is opened again, and said.

    \b
    Example:
      pocket-relay-miner redis-debug --config miner.yaml pubsub --channel ha:events:blocks --duration 30
    """
    numbers = itertools.count(1)
    seen = 0

    def hear(channel: str, payload: bytes) -> None:
        nonlocal seen
        seen = next(numbers)
        now = datetime.now().astimezone()
        if as_json:
            row = {"number": seen, "time": now.isoformat(), "channel": channel, "payload": printable(payload)}
            click.echo(json.dumps(row))
        else:
            click.echo(
                f"[{now:%H:%M:%S}.{now.microsecond // 1000:03d}] #{seen} {channel} {printable(payload)}"
            )

    subscription = Subscription(
        deployment.store.client,
        {channel: lambda payload, channel=channel: hear(channel, payload) for channel in channels},  # type: ignore[misc]
        on_lost=lambda: click.echo("connection lost; messages may be missed", err=True),
    )
    with stop_requested() as stop:
        try:
            if not subscription.start(CONFIRM_S):
                raise click.ClickException("the store does not confirm the subscription")
            click.echo(f"listening on {', '.join(channels)}", err=True)
            stop.wait(duration or None)
        finally:
            subscription.stop()
    click.echo(f"{seen} message(s)", err=as_json)
