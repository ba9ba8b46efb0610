"""Which checks a vectors file is judged by."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from relay_cli import conformance
from relay_cli.conformance.check import VectorFile


@functools.cache
def vector_files() -> Mapping[str, VectorFile]:
    """Return the `VectorFile`s that the modules of this package define, by name."""
    found: dict[str, VectorFile] = {}
    for module_info in pkgutil.iter_modules(conformance.__path__):
        module = importlib.import_module(f"{conformance.__name__}.{module_info.name}")
        for value in vars(module).values():
            if isinstance(value, VectorFile) and found.setdefault(value.name, value) is not value:
                raise LookupError(f"two modules check files named {value.name}")
    return found


def candidates_for(path: PurePath, document: Mapping[str, Any]) -> list[VectorFile]:
    """Return the `VectorFile`s that fit a file, usually one; none when nothing in it is known.

    By the file's name; else by the longest known name inside it (`altered_smst.json`); else those that know
    most of its sections, which may be several that look alike.
    """
    known = vector_files()
    stem = path.name.removesuffix(".gz").removesuffix(".json")
    named = known.get(stem) or max(
        (file for name, file in known.items() if name in stem), key=lambda f: len(f.name), default=None
    )
    if named is not None:
        return [named]
    shared = {name: len(file.sections.keys() & document.keys()) for name, file in known.items()}
    most = max(shared.values(), default=0)
    return [known[name] for name, count in shared.items() if count == most > 0]
