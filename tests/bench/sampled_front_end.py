"""The product's front end with a sampler in it: where one worker's CPU goes.

Named by `POCKET_RELAYER_FRONT_END`. Every millisecond *of CPU* a signal interrupts the worker's code, whichever
greenlet runs, and its stack is counted; the counts are written at the end of the process, one line a stack:
`outermost;…;innermost count`. Time inside C code counts for the line that called it.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from types import FrameType

from relayer_web.config import RelayerConfig
from relayer_web.front_end import FrontEnd, relaying_front_end

DIRECTORY_VARIABLE = "POCKET_BENCH_SAMPLES"
FACTORY = "tests.bench.sampled_front_end:sampled_front_end"
INTERVAL_S = 0.001
DEEPEST = 40

_stacks: Counter[tuple[str, ...]] = Counter()


def sampled_front_end(config: RelayerConfig) -> FrontEnd:
    """Make the real front end, and sample this process until it is stopped."""
    front_end = relaying_front_end(config)
    stop = front_end.stop

    def stop_and_write() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        stop()
        _write(Path(os.environ[DIRECTORY_VARIABLE]) / f"{os.getpid()}.stacks")

    front_end.stop = stop_and_write  # type: ignore[method-assign]
    signal.signal(signal.SIGPROF, _sample)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
    return front_end


def _sample(number: int, frame: FrameType | None) -> None:
    stack: list[str] = []
    while frame is not None and len(stack) < DEEPEST:
        code = frame.f_code
        module = frame.f_globals.get("__name__", "?")
        stack.append(f"{module}.{code.co_qualname}")
        frame = frame.f_back
    _stacks[tuple(reversed(stack))] += 1


def _write(path: Path) -> None:
    path.write_text("".join(f"{';'.join(stack)} {count}\n" for stack, count in _stacks.items()))
