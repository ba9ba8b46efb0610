"""Celery's consumer, made to outlive its broker.

When the connection is lost while a message is not yet acknowledged, kombu 5.7 tries to put that message back over
the lost connection, and the second attempt of the same clean-up ends the worker with `AttributeError`. So does the
acknowledgement of a task that ends after that. Nothing has to be put back or acknowledged here: unacknowledged
messages return after the visibility time-out, and before that the sweep and the next block send every task anew.
"""

from __future__ import annotations

from typing import Any

from celery.worker.consumer import Consumer


class EnduringConsumer(Consumer):  # type: ignore[misc]
    """Leaves what was not acknowledged to the visibility time-out, and children that die early to the pool."""

    # By default -1. At its first connection a worker ends when a child has died since the pool was started, with its
    # suppliers without an owner for the length of another start; at later ones the pool replaces it, as it always does.
    restart_count = 0

    def on_connection_error_after_connected(self, exc: BaseException) -> None:
        """Called by the worker between losing a connection and making another."""
        channel: Any = self.connection._default_channel
        if channel is not None:
            channel.do_restore = False
            channel.basic_ack = channel.basic_reject = _leave
        super().on_connection_error_after_connected(exc)

    def on_close(self) -> None:
        """Called by the worker when a connection is gone: the pool replaces children that died meanwhile."""
        pool: Any = getattr(self.pool, "_pool", None)
        # Set by the event loop, which may not run yet. Without it a dead child keeps its pipes, its replacement finds
        # none, and that ends the worker with StopIteration.
        if pool is not None and pool.on_process_down is None:
            pool.on_process_down = _leave
        super().on_close()


def _leave(*_: Any, **__: Any) -> None:
    """Do nothing: about a message of a lost connection, about a child the event loop does not know yet."""
