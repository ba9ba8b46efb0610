"""`pocket-relay-miner conformance`: recorded data of the network against this implementation."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from relay_cli.conformance.registry import candidates_for
from relay_cli.conformance.report import FileReport, Progress, check_document, shown, to_json

_SHOWN_CASES = 10
_PROGRESS_EVERY = 50  # cases


class UnreadableVectors(click.ClickException):
    """A file that is no vectors file; the command ends with exit code 2."""

    exit_code = 2


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, each failed case in it.")
@click.pass_context
def conformance(context: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Check this implementation against recorded vectors.

    Each FILE is a JSON document (may be gzip-compressed) of keys, signatures, trees, sessions, prices or
    transactions recorded from the network. Every value in it is computed again here and compared; a failed
    case is shown by name.

    \b
    Example:
      pocket-relay-miner conformance tests/vectors/*.json.gz
      pocket-relay-miner conformance --json ring_signatures.json | jq .failed

    Exit code 0: all agree. 1: a case failed or a section is unknown. 2: a file cannot be read.
    """
    with _progress(Console(stderr=True)) as progress_of:
        reports = [_check(path, progress_of(path)) for path in files]
    if as_json:
        click.echo(json.dumps(to_json(reports)))
    else:
        _print(Console(highlight=False), reports)
    context.exit(0 if all(report.ok for report in reports) else 1)


def _check(path: Path, progress: Progress) -> FileReport:
    document = _read(path)
    return check_document(str(path), document, candidates_for(path, document), progress)


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        if raw.startswith(b"\x1f\x8b"):
            raw = gzip.decompress(raw)
        document = json.loads(raw)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableVectors(f"{path}: cannot be read: {reason}") from error
    except (ValueError, RecursionError) as error:
        raise UnreadableVectors(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise UnreadableVectors(f"{path}: not a vectors file: its top level is no JSON object")
    return document


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[Any]:
    """Give a function from a path to the `Progress` that shows that file in one line of a terminal."""
    if not console.is_terminal:
        yield lambda path: lambda section, count: None
        return
    with console.status("") as status:

        def progress_of(path: Path) -> Progress:
            def progress(section: str, count: int) -> None:
                if count % _PROGRESS_EVERY == 0:
                    status.update(_text(f"{path.name}: {section}, {count} cases"))

            return progress

        yield progress_of


def _text(text: str) -> str:
    """Return text that came out of a file as it can be printed: no markup, no control characters."""
    return escape("".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text))


def _print(console: Console, reports: list[FileReport]) -> None:
    for report in reports:
        for name, why in sorted(report.not_applicable.items()):
            line = f"not applicable: {Path(report.file).name} {name}: {why}"
            console.print(_text(line), style="dim", soft_wrap=True)
    table = Table("file", "section")
    table.add_column("checked", justify="right")
    table.add_column("failed", justify="right")
    for report in reports:
        for row in _rows(report):
            table.add_row(*row)
        table.add_section()
    checked, failed = sum(r.checked for r in reports), sum(r.failed for r in reports)
    table.add_row("all", "", str(checked), str(failed))
    console.print(table)
    for report in reports:
        _print_failures(console, report)


def _rows(report: FileReport) -> Iterator[tuple[str, str, str, str]]:
    name = _text(Path(report.file).name)
    for section in report.sections:
        mark = f"[red]{len(section.failed)}[/red]" if section.failed else "0"
        yield name, _text(section.section), str(section.checked), mark
        name = ""
    for unknown in report.unknown:
        yield name, _text(unknown), "[red]unknown[/red]", ""
        name = ""


def _print_failures(console: Console, report: FileReport) -> None:
    for section in report.sections:
        for case in section.failed[:_SHOWN_CASES]:
            expected, got = shown(case)
            name = _text(f"{report.file} {section.section}: {case.name}")
            console.print(f"[red]failed[/red] {name}", soft_wrap=True)
            console.print(_text(f"  expected {expected}\n  got      {got}"), soft_wrap=True)
        if len(section.failed) > _SHOWN_CASES:
            console.print(f"  … and {len(section.failed) - _SHOWN_CASES} more (see --json)")
