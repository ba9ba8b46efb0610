"""Judges attempts: what came out of each, how long it took, whether memory stays where it was."""

from __future__ import annotations

import gc
import hashlib
import mmap
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tests.fuzz.target import Attempt
from tests.packages import PACKAGES, ROOT

CPU_LIMIT_S = 1.0
FIRST_LOOK_AT = 0.1
MAX_GROWTH_KB = 32_768
MAX_KINDS = 20


class TooSlow(BaseException):
    """One input took more than its time. No `except Exception` on the way keeps it."""


@dataclass(frozen=True, slots=True)
class Find:
    """One way to break a target, with the first input that did. `place` is where, `text` what was said."""

    kind: str
    place: str
    text: str
    input_path: str


class Progress:
    """Where a run stands, in a file that outlives a crash of its process: count, accepted, length and bytes of the input."""

    HEADER_BYTES = 24

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        with path.open("wb") as file:
            file.truncate(self.HEADER_BYTES + max_bytes)
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 0)

    def note(self, count: int, accepted: int, data: bytes) -> None:
        """Write down what is about to be tried."""
        data = data[: self._max_bytes]
        header = b"".join(number.to_bytes(8, "big") for number in (count, accepted, len(data)))
        self._memory[: self.HEADER_BYTES + len(data)] = header + data

    @staticmethod
    def read(path: Path) -> tuple[int, int, bytes]:
        """Return count, accepted and the last input; zeros before the first."""
        try:
            raw = path.read_bytes()
        except OSError:
            raw = b""
        numbers = [int.from_bytes(raw[start : start + 8], "big") for start in (0, 8, 16)]
        return numbers[0], numbers[1], raw[Progress.HEADER_BYTES :][: numbers[2]]


def resident_kb(process: int | str = "self") -> int:
    """Memory a process holds, this one by default."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


@dataclass(slots=True)
class Judge:
    """Tries up to `inputs` inputs, for `seconds` at most (0: no limit). Finds are kept in `directory`."""

    attempt: Attempt
    inputs: int
    seconds: float
    directory: Path
    progress: Progress | None = None
    count: int = 0
    accepted: int = 0
    slowest_s: float = 0.0
    first_kb: int = 0
    finds: dict[tuple[str, str], Find] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    @property
    def is_done(self) -> bool:
        over = self.seconds and self.elapsed_s > self.seconds
        return bool(over) or self.count >= self.inputs or len(self.finds) >= MAX_KINDS

    def try_one(self, data: bytes) -> None:
        """Try one input and note what is wrong with what it did."""
        if self.progress is not None:
            self.progress.note(self.count, self.accepted, data)
        before = time.perf_counter()
        try:
            with limited_cpu(CPU_LIMIT_S):
                self.accepted += self.attempt(data)
        except (Exception, TooSlow) as error:
            self.found(error, data)
        self.count += 1
        self.slowest_s = max(self.slowest_s, time.perf_counter() - before)
        if not self.first_kb and self._first_look_is_due:
            gc.collect()
            self.first_kb = resident_kb()

    @property
    def _first_look_is_due(self) -> bool:
        if self.count >= FIRST_LOOK_AT * self.inputs:
            return True
        return bool(self.seconds) and self.elapsed_s >= FIRST_LOOK_AT * self.seconds

    def last_kb(self) -> int:
        """Memory now; more than `MAX_GROWTH_KB` since the first look is a find."""
        gc.collect()
        last = resident_kb()
        if self.first_kb and last - self.first_kb > MAX_GROWTH_KB:
            text = f"{self.first_kb} KiB after a tenth of the run, {last} KiB at its end"
            self.finds["growth", ""] = Find("growth", "", text, "")
        return last

    def found(self, error: BaseException, data: bytes) -> None:
        """Keep the first input of each way to fail."""
        place, kind = place_of(error), type(error).__name__
        if (kind, place) not in self.finds:
            self.finds[kind, place] = Find(kind, place, str(error)[:500], keep(self.directory, data))
            (self.directory / f"{self.finds[kind, place].input_path}.txt").write_text(
                "".join(traceback.format_exception(error))
            )


def place_of(error: BaseException) -> str:
    """The last line of the product's code on the way to the error; of any code where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    files = [Path(frame.filename) for frame in frames]
    ours = [
        index
        for index, file in enumerate(files)
        if file.is_relative_to(ROOT) and file.relative_to(ROOT).parts[0] in PACKAGES
    ]
    if not frames:
        return ""
    index = ours[-1] if ours else -1
    return f"{files[index].name}:{frames[index].name}:{frames[index].lineno}"


def keep(directory: Path, data: bytes) -> str:
    """Write an input down; returns its file's name."""
    name = f"find-{hashlib.sha256(data).hexdigest()[:16]}"
    (directory / name).write_bytes(data)
    return name


@contextmanager
def limited_cpu(limit_s: float) -> Iterator[None]:
    """Raise `TooSlow` in what takes more CPU than that; the time of others on this machine does not count."""
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def watch_cpu() -> None:
    """To be called once, in the main thread."""

    def too_slow(number: int, frame: FrameType | None) -> None:
        raise TooSlow(f"more than {CPU_LIMIT_S:g} s of CPU")

    signal.signal(signal.SIGPROF, too_slow)
