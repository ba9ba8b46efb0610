"""The little Markdown the pages need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; line breaks and bars in cells do no harm."""
    lines = [list(heading), ["---"] * len(heading), *([_cell(text) for text in row] for row in rows)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def code(text: str) -> str:
    """Text as code; nothing for an empty one."""
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    """One line, and nothing in it that Markdown would take for HTML or for the next column."""
    spans = text.split("`")
    spans[::2] = [plain.replace("<", "&lt;") for plain in spans[::2]]
    return " ".join("`".join(spans).replace("|", "\\|").split())
