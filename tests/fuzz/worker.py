"""One target's run, in a process of its own: `python -m tests.fuzz.worker ORDER` (JSON, made by `campaign`).

The result is a JSON file in the order's directory. libFuzzer ends its process when it ends, and takes a crash of C code
along; so whoever ordered the run reads the file, and the progress file when there is no result.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from tests.fuzz.catalogue import TARGETS
from tests.fuzz.judge import Judge, Progress, watch_cpu
from tests.fuzz.mutation import mutated_inputs
from tests.fuzz.target import Target
from tests.packages import PACKAGES

RESULT, PROGRESS, LOG = "result.json", "progress", "log.txt"
INSTRUMENTED = (*PACKAGES, "websockets")


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run. `seconds` 0: no limit. `directory` is the run's own."""

    target: str
    engine: str
    inputs: int
    seed: int
    seconds: float
    directory: str


def load(name: str) -> Target:
    """Import a target and what it drives. `name` is one of the catalogue's, or a module:attribute."""
    place = TARGETS[name].place if name in TARGETS else name
    module, _, attribute = place.partition(":")
    target: Target = getattr(importlib.import_module(module), attribute)
    return target


def run_mutation(judge: Judge, target: Target, order: Order) -> None:
    """Try our own mutations."""
    for data in mutated_inputs(target, order.seed):
        judge.try_one(data)
        if judge.is_done:
            return


def run_atheris(judge: Judge, target: Target, order: Order, finish: Any) -> NoReturn:
    """Have libFuzzer look for new ways through the code. Does not return: `finish` ends the process."""
    import atheris

    corpus = Path(order.directory) / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds()):
        (corpus / f"{number:06}").write_bytes(seed[: target.max_bytes])
    words = Path(order.directory) / "words"
    words.write_text("".join(f'"{escaped(word)}"\n' for word in target.words))

    def try_one(data: bytes) -> None:
        judge.try_one(data)
        if judge.is_done:
            finish()

    flags = [f"-seed={order.seed}", f"-max_len={target.max_bytes}", "-timeout=600", "-rss_limit_mb=0"]
    flags += [f"-dict={words}"] if target.words else []
    atheris.Setup(["fuzz", *flags, f"-artifact_prefix={order.directory}/", str(corpus)], try_one)
    atheris.Fuzz()
    raise SystemExit("libFuzzer ended by itself")


def escaped(word: bytes) -> str:
    """A word as libFuzzer's dictionaries spell it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


def result_of(judge: Judge) -> dict[str, Any]:
    """What the judge has to say at the end."""
    return {
        "count": judge.count,
        "accepted": judge.accepted,
        "slowest_s": round(judge.slowest_s, 3),
        "first_kb": judge.first_kb,
        "finds": [asdict(find) for find in judge.finds.values()],
        "python": platform.python_version(),
    }


def run(order: Order) -> None:
    """Run to the end and write the result."""
    directory = Path(order.directory)
    watch_cpu()
    if order.engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=list(INSTRUMENTED)):
            target = load(order.target)
    else:
        target = load(order.target)
    with ExitStack() as held:
        progress = Progress(directory / PROGRESS, target.max_bytes)
        attempt = held.enter_context(target.opened())
        judge = Judge(attempt, order.inputs, order.seconds, directory, progress)

        def finish() -> None:
            elapsed_s = judge.elapsed_s
            last_kb = judge.last_kb()
            try:
                held.close()
            except Exception as error:
                judge.found(error, b"")
            result = {"elapsed_s": round(elapsed_s, 1), "last_kb": last_kb, **result_of(judge)}
            (directory / RESULT).write_text(json.dumps(result, indent=1))
            with suppress(OSError):
                sys.stderr.flush()
            os._exit(0)  # threads of a target must not hold it up

        if order.engine == "atheris":
            run_atheris(judge, target, order, finish)
        run_mutation(judge, target, order)
        finish()


if __name__ == "__main__":
    run(Order(**json.loads(sys.argv[1])))
