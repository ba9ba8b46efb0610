"""`python -m relay_cli.pages`: write the reference pages into docs/, or with `--check` say which are out of date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click

from relay_cli.pages import configuration, errors, metrics

PAGES: Final[dict[str, Callable[[], str]]] = {
    "configuration.md": configuration.page,
    "errors.md": errors.page,
    "metrics.md": metrics.page,
}


def outdated(directory: Path) -> Iterator[str]:
    """Yield the names of pages in `directory` that the code would write otherwise."""
    for name, make in PAGES.items():
        path = directory / name
        if not path.is_file() or path.read_text() != make():
            yield name


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a page is out of date.")
@click.argument("directory", default="docs", type=click.Path(path_type=Path, file_okay=False))
def main(check: bool, directory: Path) -> None:
    """Write the reference pages into DIRECTORY (docs)."""
    for name in list(outdated(directory)):
        if check:
            raise click.ClickException(f"{directory / name} is out of date: run python -m relay_cli.pages")
        (directory / name).write_text(PAGES[name]())
        click.echo(f"wrote {directory / name}")


if __name__ == "__main__":
    main()
