"""Sharing suppliers out: every situation of a node, and a simulation of several."""

from __future__ import annotations

import pytest

from mining_tasks.ownership import Moves, View, fair_share, share_out


def view(
    wanted: str,
    owned: dict[str, float] | None = None,
    free: dict[str, float] | None = None,
    given_up: dict[str, float] | None = None,
    nodes: int = 1,
    taken_back: dict[str, float] | None = None,
) -> View:
    return View(set(wanted), owned or {}, free or {}, given_up or {}, nodes, 100.0, taken_back or {})


def moves(view: View, *, may_release: bool = True) -> Moves:
    return share_out(view, cool_down_s=10.0, orphan_s=0.5, may_release=may_release)


@pytest.mark.parametrize(
    ("suppliers", "nodes", "share"), [(0, 1, 0), (5, 1, 5), (5, 2, 3), (4, 2, 2), (1, 3, 1), (5, 0, 5)]
)
def test_the_fair_share(suppliers: int, nodes: int, share: int) -> None:
    assert fair_share(suppliers, nodes) == share


def test_a_lone_node_takes_all_that_is_free() -> None:
    assert moves(view("abc", free={"a": 99.9, "b": 99.8, "c": 99.9})) == Moves((), ("b", "a", "c"))


def test_beyond_its_share_a_node_takes_only_orphans() -> None:
    free = {"a": 99.0, "b": 99.9, "c": 99.3, "d": 99.95}
    assert moves(view("abcd", free=free, nodes=2)).acquire == ("a", "c")
    assert moves(view("abcd", {"a": 1.0, "c": 1.0}, {"b": 99.9, "d": 99.2}, nodes=2)).acquire == ("d",)


def test_the_newest_are_given_up_first_and_nothing_is_taken_meanwhile() -> None:
    owned = {"a": 1.0, "b": 3.0, "c": 2.0}
    assert moves(view("abcd", owned, {"d": 90.0}, nodes=2)) == Moves(("b",), ())


def test_what_was_just_acquired_is_not_handed_on() -> None:
    owned = {"a": 1.0, "b": 97.0, "c": 96.0, "d": 2.0}
    assert moves(view("abcd", owned, nodes=2)).release == ("d", "a")
    owned = dict.fromkeys("abcd", 97.0)
    assert moves(view("abcd", owned, nodes=2)) == Moves()


def test_between_rebalances_nothing_is_given_up_for_fairness() -> None:
    owned = {"a": 1.0, "b": 3.0, "c": 2.0}
    assert moves(view("abcd", owned, {"d": 90.0}, nodes=2), may_release=False) == Moves((), ("d",))


def test_what_is_no_longer_wanted_is_given_up_at_once() -> None:
    assert moves(view("a", {"a": 1.0, "x": 2.0}), may_release=False) == Moves(("x",), ())


def test_what_was_given_up_is_not_taken_back_at_once() -> None:
    assert moves(view("a", free={"a": 98.5}, given_up={"a": 91.0})).acquire == ()
    assert moves(view("a", free={"a": 98.5}, given_up={"a": 89.0})).acquire == ("a",)


def test_what_nobody_else_takes_is_taken_back_and_kept_for_a_while() -> None:
    """The others may hold other keys, or have died just then: it must not stand without an owner for long."""
    assert moves(view("ab", {"b": 1.0}, {"a": 97.5}, {"a": 97.5}, nodes=2)).acquire == ("a",)
    owned = {"a": 99.0, "b": 1.0}
    assert moves(view("ab", owned, nodes=2, taken_back={"a": 99.0, "b": 99.0})) == Moves()
    assert moves(view("ab", owned, nodes=2, taken_back={"a": 99.0})).release == ("b",)
    owned = {"a": 39.0, "b": 1.0}
    assert moves(view("ab", owned, nodes=2, taken_back={"a": 39.0, "b": 99.0})).release == ("a",)


@pytest.mark.parametrize("suppliers", [1, 2, 7, 20])
@pytest.mark.parametrize("survivors", [1, 2, 3])
def test_nodes_come_to_own_everything_fairly(suppliers: int, survivors: int) -> None:
    """Three nodes start, some die, one comes back: every supplier is owned, nobody has more than a share."""
    wanted = [f"s{number}" for number in range(suppliers)]
    owned: list[dict[str, float]] = [{}, {}, {}]
    given_up: list[dict[str, float]] = [{}, {}, {}]
    free_since: dict[str, float] = {}
    alive = [0, 1, 2]
    for second in range(120):
        if second == 40:
            alive = list(range(survivors))
            for dead in set(range(3)) - set(alive):
                owned[dead].clear()
        if second == 80:
            alive = [0, 1, 2]
        for node in alive:
            taken = {supplier for other in owned for supplier in other}
            free_since = {s: free_since.get(s, float(second)) for s in wanted if s not in taken}
            seen = View(wanted, owned[node], free_since, given_up[node], len(alive), float(second))
            todo = share_out(seen, cool_down_s=10.0, orphan_s=0.5, may_release=second % 5 == 0)
            for supplier in todo.release:
                del owned[node][supplier]
                given_up[node][supplier] = float(second)
            for supplier in todo.acquire:
                owned[node][supplier] = float(second)
        if second in (39, 79, 119):
            assert sorted(s for node in alive for s in owned[node]) == sorted(wanted)
            assert all(len(owned[node]) <= fair_share(suppliers, len(alive)) for node in alive)
