"""The operator hears when blocks stop coming, once, and when they come again (§10.1 block staleness)."""

from __future__ import annotations

from relayer_web import height_alarm
from relayer_web.height_alarm import HeightAlarm
from relayer_web.position import ChainPosition, HeightUnknown
from tests.logs import captured


class Source:
    """A position source of the test's making."""

    height: int | None = 105

    def current(self) -> ChainPosition:
        if self.height is None:
            raise HeightUnknown
        return ChainPosition(self.height, 0.0, 1.0)

    def block_time_s(self) -> float:
        return 1.0


def test_each_change_is_said_once() -> None:
    now, states, source = [100.0], [], Source()
    alarm = HeightAlarm(states.append, monotonic=lambda: now[0])
    with captured(height_alarm) as logs:
        alarm.look(source)  # type: ignore[arg-type]
        alarm.note_question()
        for _ in range(3):
            alarm.look(source)  # type: ignore[arg-type]
        source.height = None
        for _ in range(3):
            alarm.look(source)  # type: ignore[arg-type]
        source.height = 106
        now[0] += 11.0
        alarm.look(source)  # type: ignore[arg-type]
    assert states == ["asked", "unknown", "heard"]
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "no blocks are heard from the store; the node is asked"),
        ("error", "block height unknown: relays are refused"),
        ("info", "blocks are heard again"),
    ]
