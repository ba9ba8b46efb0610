"""How commands print: rows as a table, one thing as lines, JSON with `--json`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

WIDTH_OF_FILES = 400  # characters: addresses stay whole where nobody looks at columns

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def printable(value: object) -> str:
    """Return `value` as one line of visible characters: what is in the store may be anything."""
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if text.isprintable():
        return text
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode("ascii") for mark in text
    )


def show(rows: Sequence[Mapping[str, Any]], *, title: str = "", counted: bool = True) -> None:
    """Print rows as a table, with a line above when there is a `title` and their number below."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    if title:
        console.print(title, style="bold")
    if not rows:
        console.print("nothing found")
        return
    table = Table(box=None, header_style="bold")
    for name, value in rows[0].items():
        table.add_column(
            name.upper().replace("_", " "), justify="right" if isinstance(value, int | float) else "left"
        )
    for row in rows:
        table.add_row(*(printable(value) for value in row.values()))
    console.print(table)
    if counted:
        console.print(f"{len(rows)} row(s)")


def show_rows(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print rows as one JSON list or as a table."""
    click.echo(json.dumps(rows)) if as_json else show(rows)


def show_each(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the fields of each row, an empty line below each."""
    for row in rows:
        show_fields(row)
        click.echo()


def show_fields(fields: Mapping[str, Any]) -> None:
    """Print one thing: a line for each of its fields."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        click.echo(f"{name.replace('_', ' '):<{width}}  {printable(value)}")
