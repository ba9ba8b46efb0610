"""The command line of the fuzzing runs."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from tests.fuzz.campaign import Outcome, has_atheris, lines_of, run_target
from tests.fuzz.catalogue import FED, LIVE, TARGETS
from tests.fuzz.judge import Judge, watch_cpu
from tests.fuzz.live import run_live
from tests.fuzz.page import page_of
from tests.fuzz.worker import load

ENGINES = ("atheris", "mutation")
INPUTS, LIVE_INPUTS = 100_000, 20_000


@click.command(context_settings={"max_content_width": 110})
@click.option(
    "--target", "targets", multiple=True, type=click.Choice(list(FED)), metavar="NAME", help="[default: all]"
)
@click.option(
    "--inputs", type=click.IntRange(1), help="Of each target.  [default: 100000; live-…: 20000 connections]"
)
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same inputs.")
@click.option("--seconds", default=0.0, help="End each target after so long, even short of --inputs.")
@click.option("--engine", type=click.Choice(ENGINES), help="[default: atheris where it is installed]")
@click.option("--replay", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--list", "listing", is_flag=True, help="Only say what the targets are fed with.")
@click.option(
    "--directory", type=click.Path(path_type=Path), help="For logs and finds; else a temporary one."
)
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), help="Keep the outcomes there.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write the page of all --results (docs/fuzz.md)."
)
def main(
    targets: tuple[str, ...],
    inputs: int | None,
    seed: int,
    seconds: float,
    engine: str | None,
    replay: Path | None,
    listing: bool,
    directory: Path | None,
    results: Path | None,
    output: Path | None,
) -> None:
    """Feed mutated inputs to what reads bytes of strangers, and see that only documented refusals come out.

    Inputs start from the golden data in tests/vectors and, where RECORDED_DATA names a directory, from recorded
    traffic. An input is a find when anything else is raised, when it takes more than 1 s of CPU, when what was decoded
    and encoded again differs, or when its process dies; so is a process whose memory grows by more than 32 MiB between
    a tenth of the run and its end. Exit 1 for any find; its input stays in the directory that is printed.

    The targets live-… are connections to a relayer that is started for them, on this machine: each must be answered or
    ended in time, the same processes must serve afterwards, and nothing may be charged or mined.

    Engine `atheris` (pip install -e '.[fuzz]') goes by code coverage, `mutation` is our own and needs nothing.

    \b
    Examples:
      python -m tests.fuzz --list
      python -m tests.fuzz --inputs 2000                      # all targets, some minutes
      python -m tests.fuzz --target ring --target gob --seed 7
      python -m tests.fuzz --target live-http2 --inputs 5000
      python -m tests.fuzz --target http --replay /tmp/pocket-fuzz-x/http-y/find-0123456789abcdef
      python -m tests.fuzz --seed 1 --results fuzz            # runs with other seeds are added up
      python -m tests.fuzz --seed 2 --seconds 60 --results fuzz --output docs/fuzz.md
    """
    if listing:
        for name, fed in FED.items():
            click.echo(f"{name:16}{fed}")
        return
    if replay is not None:
        sys.exit(replayed(targets, replay))
    if output is not None and results is None:
        raise click.BadParameter("the page is made of what --results keeps", param_hint="--output")
    where = (directory or Path(tempfile.mkdtemp(prefix="pocket-fuzz-"))).resolve()
    where.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for name in targets or tuple(FED):
        common: dict[str, Any] = {"seed": seed, "seconds": seconds, "directory": where, "say": click.echo}
        if name in LIVE:
            outcome = run_live(name, inputs=inputs or LIVE_INPUTS, **common)
        else:
            chosen = engine or ("atheris" if has_atheris() else "mutation")
            outcome = run_target(name, engine=chosen, inputs=inputs or INPUTS, **common)
        outcomes.append(outcome)
        for line in lines_of(outcome):
            click.echo(line)
        if results is not None:
            keep_outcome(results, outcome)
    if output is not None and results is not None:
        output.write_text(page_of(kept_outcomes(results), datetime.now(UTC).strftime("%Y-%m-%d")))
    finish(outcomes, where, keep=directory is not None)


def replayed(targets: tuple[str, ...], path: Path) -> int:
    """Try one input in this process; what it raises is shown whole. Returns the exit code."""
    if len(targets) != 1 or targets[0] not in TARGETS:
        raise click.BadParameter("name the one target the input is for", param_hint="--target")
    watch_cpu()
    with tempfile.TemporaryDirectory() as directory, load(targets[0]).opened() as attempt:
        judge = Judge(attempt, 1, 0.0, Path(directory))
        judge.try_one(path.read_bytes())
        for find in judge.finds.values():
            click.echo((Path(directory) / f"{find.input_path}.txt").read_text())
        click.echo(f"{len(judge.finds)} finds, {'accepted' if judge.accepted else 'refused'}")
        return 1 if judge.finds else 0


def keep_outcome(results: Path, outcome: Outcome) -> None:
    results.mkdir(parents=True, exist_ok=True)
    order = outcome.order
    name = f"{order.target}-{order.engine}-{order.seed}.json"
    (results / name).write_text(json.dumps(outcome.document(), indent=1))


def kept_outcomes(results: Path) -> list[Outcome]:
    """All that was kept, in the catalogue's order; a run with the same target, engine and seed replaced the last one."""
    outcomes = [Outcome.of(json.loads(file.read_text())) for file in sorted(results.glob("*.json"))]
    return sorted(outcomes, key=lambda outcome: list(FED).index(outcome.order.target))


def finish(outcomes: list[Outcome], where: Path, *, keep: bool) -> None:
    """Leave nothing behind but the finds."""
    finds = sum(len(outcome.finds) for outcome in outcomes)
    click.echo(f"{sum(outcome.count for outcome in outcomes):,} inputs, {finds} finds")
    if finds or keep:
        click.echo(f"logs and finds: {where}")
    else:
        shutil.rmtree(where, ignore_errors=True)
    sys.exit(1 if finds else 0)
