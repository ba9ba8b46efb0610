"""Standard output of a command that runs until it is stopped."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import threading
from collections.abc import Callable

from relay_cli.main import cli


class Screen(io.StringIO):
    """Text that is shown so far; `wait_for` one that is to come."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def write(self, part: str) -> int:
        with self._changed:
            written = super().write(part)
            self._changed.notify_all()
        return written

    def wait_for(self, text: str, times: int = 1) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.getvalue().count(text) >= times, 20), self.getvalue()


def run_until_ctrl_c(words: list[str], meanwhile: Callable[[Screen], None]) -> tuple[str, int]:
    """Run a command, in a thread `meanwhile`, and then stop it; return what it showed and its exit code."""
    screen = Screen()
    failures: list[BaseException] = []

    def act() -> None:
        try:
            meanwhile(screen)
        except BaseException as failure:
            failures.append(failure)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    actor = threading.Thread(target=act)
    with contextlib.redirect_stdout(screen):
        actor.start()
        code = cli.main(words, standalone_mode=False)
    actor.join()
    if failures:
        raise failures[0]
    return screen.getvalue(), code or 0
