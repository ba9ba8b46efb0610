"""The last word when a supervisor is killed: ends the process groups it left behind.

The supervisor names each child's group on this process's standard input (`+123`, `-123` when it has ended). The
input ends with the supervisor. The children then have their SIGTERM from the kernel (`leash`); whatever is still
there after `PATIENCE_S`, children of children included, is killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable

PATIENCE_S = 10.0
_LOOK_S = 0.1


def is_alive(group: int) -> bool:
    """Tell whether a process group has members."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # the number was given away to somebody else's process
    return True


def kill_group(group: int, signal_number: int = signal.SIGKILL) -> None:
    """Send a signal to all members of a group; none may be left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal_number)


def groups_left(lines: Iterable[str]) -> set[int]:
    """Return the groups named and not withdrawn once the lines end."""
    groups: set[int] = set()
    for line in lines:
        mark, number = line[:1], line[1:].strip()
        if number.isdigit():
            (groups.add if mark == "+" else groups.discard)(int(number))
    return groups


def main() -> None:
    """Wait for the supervisor's end, then for its children's, and end them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups = groups_left(sys.stdin)
    deadline = time.monotonic() + PATIENCE_S
    while any(map(is_alive, groups)) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    for group in groups:
        kill_group(group)


if __name__ == "__main__":
    main()
