"""`pocket-relay-miner metrics`: the numbers of a running relayer or miner, readably."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from mining_tasks.metrics import described as described_of_miner
from operations.config_file import ConfigInvalid
from operations.setting import split_address
from relay_cli.either_config import load_either
from relay_cli.metrics.miner_view import MINER, miner_sections
from relay_cli.metrics.relayer_view import RELAYER, relayer_sections
from relay_cli.metrics.scrape import MetricsUnavailable, Scrape, metrics_url, read_metrics
from relay_cli.metrics.view import Reading, Section, processes
from relay_cli.stop_signals import stop_requested
from relay_cli.tables import json_option, show, show_rows
from relayer_web.metrics import described as described_of_relayer

ANY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


@click.command("metrics")
@click.option("--url", "urls", multiple=True, metavar="URL", help="An endpoint: a URL or host:port.")
@click.option(
    "--config",
    "configs",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A relayer.yaml or miner.yaml of this machine, for its metrics.addr.",
)
@click.option(
    "--watch", default=0.0, type=click.FloatRange(0), metavar="SECONDS", help="Look again and again."
)
@click.option("--list", "listing", is_flag=True, help="Describe every metric there is, and ask nobody.")
@json_option
@click.pass_context
def metrics(
    context: click.Context,
    urls: tuple[str, ...],
    configs: tuple[Path, ...],
    watch: float,
    listing: bool,
    as_json: bool,
) -> None:
    """Relays served and refused, latencies, streams, claims, proofs, money: from the metrics of running processes.

    --url and --config may be given more than once. With --watch, what happens per second is shown as well, and
    latencies are those since the last look; Ctrl-C ends it. Exit code 1 when an endpoint cannot be read.

    \b
    Example:
      pocket-relay-miner metrics --config relayer.yaml --config miner.yaml
      pocket-relay-miner metrics --url 10.0.0.5:9090 --watch 5
      pocket-relay-miner metrics --list
    """
    if listing:
        rows = list(_described())
        show_rows(rows, as_json)
        return
    endpoints = [*map(metrics_url, urls), *(url_of(config) for config in configs)]
    if not endpoints:
        raise click.UsageError("name an endpoint: --url or --config")
    context.exit(0 if _look(endpoints, watch, as_json) else 1)


def _described() -> Iterator[dict[str, str]]:
    """Yield a row for each metric, from the tables that docs/metrics.md is written from."""
    for process, described in (("relayer", described_of_relayer()), ("miner", described_of_miner())):
        for name, kind, labels, meaning in described:
            row = {"name": name, "process": process, "type": kind}
            yield {**row, "labels": ", ".join(labels), "meaning": meaning}


def url_of(config: Path) -> str:
    """Return the endpoint that a configuration file names. Raises ClickException."""
    try:
        section = load_either(config).metrics
    except ConfigInvalid as invalid:
        raise click.ClickException(f"configuration is invalid:\n{invalid}") from None
    if not section.enabled:
        raise click.ClickException(f"{config}: metrics.enabled is false")
    host, port = split_address(section.addr)
    host = ANY_ADDRESS.get(host, host)
    return metrics_url(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _look(endpoints: Sequence[str], watch: float, as_json: bool) -> bool:
    """Read and show the endpoints, again and again while watching; return whether all answered the last time."""
    earlier: dict[str, tuple[Scrape, float]] = {}
    with stop_requested() as stop:
        while True:
            if watch and not as_json:
                click.clear()
                click.echo(f"{datetime.now():%H:%M:%S}, every {watch:g} s")
            answered = [_look_at(url, earlier, as_json) for url in endpoints]
            if not watch or stop.wait(watch):
                return all(answered)


def _look_at(url: str, earlier: dict[str, tuple[Scrape, float]], as_json: bool) -> bool:
    try:
        scrape = read_metrics(url)
    except MetricsUnavailable as error:
        click.echo(f"Error: {error}", err=True)
        return False
    now = time.monotonic()
    reading = Reading(scrape)
    if url in earlier:
        before, then = earlier[url]
        reading = Reading(scrape, scrape.since(before), now - then)
    earlier[url] = scrape, now
    sections = list(_sections(reading))
    if as_json:
        click.echo(json.dumps(_document(url, reading, sections)))
    else:
        ours = any(section.rows for section in sections)
        click.secho(url if ours else f"{url}: nothing of a relayer or a miner yet", bold=True)
        for section in sections:
            if section.rows:
                show(section.rows, title=f"\n{section.title}", counted=False)
        click.echo()
    return True


def _sections(reading: Reading) -> Iterator[Section]:
    if reading.whole.has(f"{RELAYER}_"):
        yield from relayer_sections(reading)
    if reading.whole.has(f"{MINER}_"):
        yield from miner_sections(reading)
    yield processes(reading)


def _document(url: str, reading: Reading, sections: Sequence[Section]) -> dict[str, Any]:
    """Return a reading as one document; a section's name is its title in small letters."""
    rows = {section.title.lower(): list(section.rows) for section in sections}
    return {"url": url, "seconds": round(reading.seconds, 3), "sections": rows}
