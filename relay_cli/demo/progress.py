"""The demo's progress: a live table on a terminal, a line per change elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

LINE_EVERY_BLOCKS = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """Where things stand."""

    phase: str
    height: int
    served: int
    mined: int
    claimed: int
    proved: int
    settled: int
    settled_upokt: int

    def line(self) -> str:
        return (
            f"height {self.height:>4}  {self.phase:<34} relays served {self.served:>5}  mined {self.mined:>5}"
            f"  claims {self.claimed}  proofs {self.proved}  settled {self.settled}  {self.settled_upokt:,} uPOKT"
        )


class ProgressView:
    """Shows the latest progress. `show` may be called as often as one likes."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console, self._live = console, live
        self._last: Progress | None = None

    def show(self, progress: Progress) -> None:
        if self._live:
            self._live.update(_table(progress))
            return
        last = self._last
        moved = (
            last is None or progress.height >= last.height + LINE_EVERY_BLOCKS or progress.phase != last.phase
        )
        if moved:
            self._console.print(progress.line(), highlight=False, soft_wrap=True)
            self._last = progress

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress_view(console: Console) -> Iterator[ProgressView]:
    """Yield a view on `console`, live where it is a terminal."""
    if not console.is_terminal:
        yield ProgressView(console, None)
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield ProgressView(console, live)


def _table(progress: Progress) -> Table:
    table = Table(title=f"height {progress.height}: {progress.phase}", title_justify="left")
    for name in ("served", "mined", "claimed", "proved", "settled", "settled uPOKT"):
        table.add_column(name, justify="right")
    table.add_row(
        *(
            str(n)
            for n in (progress.served, progress.mined, progress.claimed, progress.proved, progress.settled)
        ),
        f"{progress.settled_upokt:,}",
    )
    return table
