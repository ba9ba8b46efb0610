"""Binding: every problem at once, at its line; secrets never shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from operations.config_file import ConfigInvalid, bind, describe, load
from operations.setting import Remark, duration_s, listen_address, setting
from pocket_protocol.errors import Malformed


@dataclass(frozen=True, slots=True)
class Door:
    SCALAR_KEY: ClassVar[str] = "address"

    address: str = setting("")
    width: int = setting(0, minimum=0)


@dataclass(frozen=True, slots=True)
class Lock:
    SUPERSEDED: ClassVar[dict[str, str]] = {"chain": "use a bolt"}

    kind: Literal["bolt", "latch"] = setting("bolt")
    turns: int = setting(3, minimum=1, maximum=9, blank_is_default=True)
    code: str = setting("", secret=True)
    pin: int = setting(0, secret=True)


@dataclass(frozen=True, slots=True)
class House:
    name: str = setting("", required=True)
    lock: Lock = field(default_factory=Lock)
    back_lock: Lock = field(default_factory=lambda: Lock(turns=7))
    doors: tuple[Door, ...] = setting(())
    rooms: Mapping[str, Door] = setting(factory=lambda: {"hall": Door("a", 1)}, merge=True)
    heat: float = setting(20.0)
    warm_for_s: float = setting(5.0, key="warm_for", parse=duration_s)
    open: bool = setting(False)

    def remarks(self) -> Iterator[Remark]:
        if self.lock.turns == 9:
            yield Remark(("lock", "turns"), "is a lot", warning=True)
        if self.heat > 30:
            yield Remark(("heat",), "is too hot")


def problems(text: str, *, strict: bool = False) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        bind(text, House, file="f", strict=strict)
    assert isinstance(caught.value, Malformed)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return [str(problem) for problem in caught.value.problems]


def test_a_sound_file_is_bound_over_the_defaults() -> None:
    loaded = bind(
        "name: x\nlock: {turns: 0, kind: latch}\nback_lock: {code: 007}\nheat: 3\nwarm_for: 1h30m\n"
        "doors: [front, {address: side, width: 1e2}]\nrooms: {attic: {width: 4}}\nopen: yes\n",
        House,
    )
    house = loaded.config
    assert loaded.warnings == ()
    assert (house.lock.kind, house.lock.turns, house.back_lock.turns) == ("latch", 3, 7)
    assert house.back_lock.code == "007"  # a text setting keeps what was written
    assert house.doors == (Door("front"), Door("side", 100))
    assert house.rooms == {"hall": Door("a", 1), "attic": Door("", 4)}
    assert (house.heat, house.warm_for_s, house.open) == (3.0, 5400.0, True)
    assert "lock.turns" in loaded.given and "lock.code" not in loaded.given


def test_null_keeps_the_default() -> None:
    assert bind("name: x\nlock: ~\nheat:\nrooms: {hall: null}\n", House).config == House(name="x")


def test_every_problem_is_reported_at_its_line() -> None:
    text = """\
lock:
  kind: Latch
  turns: 12
  pin: secretpin
doors:
- {width: -1}
- [a]
rooms: []
heat: warm
open: "true"
warm_for: 30
"""
    assert problems(text) == [
        "f:1: name: is required",
        "f:2: lock.kind: is invalid: 'Latch' (valid: bolt, latch) (did you mean \"latch\"?)",
        "f:3: lock.turns: must be at most 9, not 12",
        "f:4: lock.pin: must be a whole number, not the value",
        "f:6: doors[0].width: must be at least 0, not -1",
        "f:7: doors[1]: must be a map of settings, not a list",
        "f:8: rooms: must be a map, not a list",
        "f:9: heat: must be a number, not 'warm'",
        "f:10: open: must be true or false, not 'true' (write it without quotes)",
        "f:11: warm_for: a duration needs a unit (did you mean 30s?)",
    ]


def test_unknown_and_retired_keys_warn_and_strict_refuses() -> None:
    text = "name: x\nlock:\n  turn: 4\n  chain: {links: 5}\n  turns: 9\ncellar: 1\n"
    loaded = bind(text, House, file="f")
    assert [str(warning) for warning in loaded.warnings] == [
        'f:3: lock.turn: unknown key, ignored (did you mean "turns"?)',
        "f:4: lock.chain: is not used: use a bolt",
        "f:5: lock.turns: is a lot",
        "f:6: cellar: unknown key, ignored",
    ]
    assert problems(text, strict=True) == [str(warning) for warning in loaded.warnings]


def test_an_invalid_file_carries_its_warnings_too() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        bind("heat: 40\ncellar: 1\n", House)
    assert [problem.key for problem in caught.value.problems] == ["heat", "name"]
    assert [warning.key for warning in caught.value.warnings] == ["cellar"]


def test_a_faulty_value_is_not_blamed_twice() -> None:
    assert problems("name: x\nheat: [31]\n") == ["f:2: heat: must be a number, not a list"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: x\nname: y\n", "f:2: name: is given twice"),
        ("name: [x\n", "f:2: not valid YAML: did not find expected ',' or ']'"),
        ("- 1\n", "f:1: must be a map of settings, not a list"),
        ("name: x\n---\nname: y\n", "f:2: not valid YAML: but found another document"),
        ("? [a]\n: b\n", "f:1: a key must be plain text, not a list"),
        ("name: &a [*a]\n", "f:1: the file's aliases expand to too much"),
        ("name: !!python/object:os.system x\nheat: !!int zz\n", "f:2: heat: must be a number, not 'zz'"),
        ("name: x\nheat: !!timestamp zz\n", "f:2: heat: must be a number, not 'zz'"),
        ("name: x\nheat: !!int ''\n", "f:2: heat: must be a number, not ''"),
        ("name: x\nheat: !!bool zz\n", "f:2: heat: must be a number, not 'zz'"),
        ("name: x\nheat: .inf\n", "f:2: heat: must be a finite number, not '.inf'"),
        ("name: x\nlock: {turns: 1.5}\n", "f:2: lock.turns: must be a whole number, not '1.5'"),
        ("name: x\nlock: {turns: true}\n", "f:2: lock.turns: must be a whole number, not 'true'"),
        ("", "f:1: name: is required"),
    ],
)
def test_odd_documents(text: str, problem: str) -> None:
    assert problem in problems(text)


def test_aliases_cannot_make_a_small_file_huge() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert problems("\n".join(lines)) == [
        problem for problem in problems("\n".join(lines)) if "expand" in problem
    ]


def test_merge_keys_work() -> None:
    text = "name: x\nlock: &l {turns: 4, kind: latch}\nback_lock: {<<: *l, turns: 5}\n"
    assert bind(text, House).config.back_lock == Lock("latch", 5)


def test_secrets_are_not_in_repr() -> None:
    assert "hush" not in repr(bind("name: x\nlock: {code: hush}\n", House).config)


def test_a_missing_file_is_a_problem_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="No such file"):
        load(tmp_path / "none.yaml", House)
    (tmp_path / "binary.yaml").write_bytes(b"name: \x80\x81")
    with pytest.raises(ConfigInvalid, match="not valid YAML"):
        load(tmp_path / "binary.yaml", House)


def test_the_description_names_every_setting() -> None:
    keys = [row[0] for row in describe(House)]
    assert keys[:4] == ["name", "lock.kind", "lock.turns", "lock.code"]
    assert {"doors[].address", "rooms.<name>.width", "warm_for"} <= set(keys)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "lock", "doors", "rooms", "heat", "turns", "kind", "x"]), inner
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(_json)
def test_any_document_binds_or_is_refused(document: object) -> None:
    try:
        loaded = bind(yaml.safe_dump(document), House)
    except ConfigInvalid as error:
        assert error.problems
    else:
        assert isinstance(loaded.config, House)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_binds_or_is_refused(text: str | bytes) -> None:
    try:
        bind(text, House)
    except ConfigInvalid as error:
        assert error.problems


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("300ms", 0.3), ("1m30s", 90), ("0", 0), (".5s", 0.5), ("1us", 1e-6)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "h", "2x", "2h ", "-1s", "1h-2m", "٣s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration_s(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [(":8080", "0.0.0.0:8080"), ("h:1", "h:1"), ("[::]:80", "[::]:80"), ("1.2.3.4:0",) * 2],
)
def test_addresses(text: str, address: str) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "8080", "h:", "h:x", "h:65536", "::1:80", "http://h:80", "a b:1", "h:٣"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        listen_address(text)
