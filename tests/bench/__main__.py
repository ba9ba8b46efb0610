"""`make bench`: prints the figures of one part or of all, and writes docs/bench.md when asked to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from tests.bench import connections_page, page
from tests.bench.connections import crowded
from tests.bench.machine import conditions
from tests.bench.mining import accumulation_costs, memory_of_relays, proof_cost
from tests.bench.primitives import primitive_costs
from tests.bench.relay_path import Run, bench
from tests.bench.sampled_front_end import DIRECTORY_VARIABLE, FACTORY
from tests.bench.samples import report

PARTS = ("relays", "mining", "curve")
ACCUMULATIONS = ((200, 1_000), (1_000, 1_000), (200, 10_000), (1_000, 10_000))
PROOFS = (10_000, 100_000)
PROFILED_RELAYS, PROFILED_CONNECTIONS = 8_000, 50


class Numbers(click.ParamType):
    """Whole numbers with commas in between."""

    name = "n,n,…"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if not numbers or min(numbers) < 1:
            self.fail(f"{value!r} is not a list of numbers above 0, such as 1,10,100", param, ctx)
        return numbers


@click.command(context_settings={"max_content_width": 110})
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS, "connections", "profile"]))
@click.option("--relays", default=2_000, show_default=True, type=click.IntRange(100), help="In one run.")
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(1), help="Runs of each kind.")
@click.option(
    "--connections", default="1,10,100", show_default=True, type=Numbers(), help="Relays at a time."
)
@click.option("--workers", default="1,2", show_default=True, type=Numbers(), help="gunicorn workers.")
@click.option("--date", default="", help="The day, to be written on the page.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the page here too.")
def main(parts: tuple[str, ...], output: Path | None, date: str, **options: object) -> None:
    """Measure CPU per relay by process, and the costs of accumulating, sealing, proving and signing.

    PARTS: relays (a whole deployment under load), mining, curve; all three when none is named. `connections` opens a
    thousand WebSockets and is a page of its own. `profile` runs the front end under a sampler and prints where its
    time goes.

    \b
    Examples:
      make bench
      python -m tests.bench relays --connections 10 --workers 1
      python -m tests.bench profile
      python -m tests.bench --date 2030-01-31 --output docs/bench.md
      python -m tests.bench connections --date 2030-01-31 --output docs/connections.md
    """
    if "profile" in parts:
        click.echo(profile())
        return
    if "connections" in parts and len(parts) > 1:
        raise click.UsageError("connections is a page of its own: name it alone")
    heading = connections_page.HEADING if "connections" in parts else page.HEADING
    sections = [heading, page.conditions_section(conditions(date))]
    with tempfile.TemporaryDirectory(prefix="pocket-bench-") as directory:
        for section in measured(parts or PARTS, Path(directory), **options):  # type: ignore[arg-type]
            sections.append(section)
            click.echo(section)
    if output is not None:
        output.write_text("\n".join(sections))


def measured(
    parts: tuple[str, ...],
    directory: Path,
    relays: int,
    repeats: int,
    connections: tuple[int, ...],
    workers: tuple[int, ...],
) -> Iterator[str]:
    """Yield the page's sections as they are measured."""
    if "relays" in parts:
        yield from _relays(directory, relays, repeats, connections, workers)
    if "mining" in parts:
        pairs = [accumulation_costs(directory / f"{b}-{n}", b, n) for b, n in ACCUMULATIONS]
        costs = [cost for drained, sealing in pairs for cost in (drained, sealing)]
        memory = memory_of_relays(directory / "memory", leaves=10_000)
        yield page.mining_section(costs, [proof_cost(leaves) for leaves in PROOFS], *memory)
    if "connections" in parts:
        found = crowded(directory, lambda line: click.echo(line, err=True))
        yield connections_page.connections_section(found)
    if "curve" in parts:
        yield page.curve_section(primitive_costs())


def _relays(
    directory: Path, relays: int, repeats: int, connections: tuple[int, ...], workers: tuple[int, ...]
) -> Iterator[str]:
    runs: list[Run] = []
    idle: dict[str, float] = {}
    for number in workers:
        with bench(directory / f"workers-{number}", number) as running:
            idle, ring = running.idle(), running.ring_size
            for concurrency in connections:
                tried = [running.load(running.requests(relays), concurrency) for _ in range(repeats)]
                runs.append(min(tried, key=lambda run: run.foreign_cores))
    yield page.relays_section(runs, ring, repeats)
    yield page.idle_section(idle)


def profile() -> str:
    """Where the CPU of one front-end worker goes under load."""
    with tempfile.TemporaryDirectory(prefix="pocket-bench-") as name:
        samples = Path(name) / "samples"
        samples.mkdir()
        environment = {"POCKET_RELAYER_FRONT_END": FACTORY, DIRECTORY_VARIABLE: str(samples)}
        with bench(Path(name) / "run", 1, environment) as running:
            run = running.load(running.requests(PROFILED_RELAYS), PROFILED_CONNECTIONS)
        return report(samples, run.front_us)


if __name__ == "__main__":
    main()
