"""The checks of smst.json find what is right, and exactly what is wrong."""

from __future__ import annotations

import copy

import pytest

from relay_cli.conformance.check import Context
from relay_cli.conformance.trees import SMST
from tests.vectors import load

_FILE = load("smst")
_INTERNAL = {
    "nodes",
    "n_nodes",
    "store_sha256",
    "commit_log",
    "per_op_commit_store_equal",
    "lazy_equal",
    "prove",
}


def _cases(section: str, file=_FILE):
    return list(SMST.sections[section](file[section], file))


def _fields(closest) -> int:
    """Return how many expectations a closest proof states: all but its input and the reference's store."""
    return len(closest.keys() - {"path", "lazy_equal"})


def _expected_counts() -> dict[str, int]:
    trees = [tree for tree in _FILE["trees"] if tree["group"] != "deletes"]
    roots = sum(len(tree["ops"]) + len(("root", "sum", "count")) for tree in trees)
    proofs = sum(_fields(closest) for tree in trees for closest in tree["closest"])
    altered = sum(len(tree.get("mutated", ())) for tree in trees)
    large = sum(
        len(tree["checkpoints"]) + len(("root", "sum", "count")) + sum(map(_fields, tree["closest"]))
        for tree in _FILE["large"]
    )
    return {"trees": roots + proofs + altered, "large": large, "gob_other_type_ids": 12, "proof_path": 4}


@pytest.mark.parametrize("section", ["trees", "large", "gob_other_type_ids", "proof_path"])
def test_every_expectation_is_met(section: str):
    cases = _cases(section)
    assert [case for case in cases if not case.ok] == []
    assert len({case.name for case in cases}) == len(cases) == _expected_counts()[section]


def test_every_section_is_known():
    assert SMST.sections.keys() == _FILE.keys()
    assert {name for name, check in SMST.sections.items() if isinstance(check, Context)} == {
        "format",
        "library",
        "notes",
    }
    assert SMST.not_applicable.keys() == _INTERNAL | {"deletes"}


def _set(mapping, key, value):
    mapping[key] = value


_SMALL = next(i for i, tree in enumerate(_FILE["trees"]) if tree["name"] == "small-5-0")
_BOTTOM = next(i for i, tree in enumerate(_FILE["trees"]) if tree["name"] == "raw-two-diff-at-255")
_ALTERATIONS = [
    (lambda tree: _set(tree["ops"][1], "root", "00" * 48), "op 1/root"),
    (lambda tree: _set(tree, "root", "00" * 48), "root"),
    (lambda tree: _set(tree, "sum", "1"), "sum"),
    (lambda tree: _set(tree, "count", "6"), "count"),
    (lambda tree: _set(tree, "surprise", 1), "surprise"),
    (lambda tree: _set(tree["closest"][0], "surprise", 1), "closest 0/surprise"),
    (lambda tree: _set(tree["mutated"][3], "verify", "true"), "mutated/root_count_bit"),
    *(
        (lambda tree, field=field, value=value: _set(tree["closest"][0], field, value), f"closest 0/{field}")
        for field, value in {
            "bitmask": "ff",
            "closest_path": "00" * 32,
            "closest_value_hash_is_nil": True,
            "compact_side_nodes": 99,
            "depth": 99,
            "flipped_bits": [99],
            "n_side_nodes": 99,
            "proof": "00",
            "proof_len": 1,
            "proof_sha256": "00" * 32,
            "sibling_data": "00",
            "sibling_data_len": 1,
            "side_nodes": ["00"],
            "value_hash_len": 1,
            "verify": "false",
        }.items()
    ),
]


@pytest.mark.parametrize(("alter", "name"), _ALTERATIONS, ids=[name for _, name in _ALTERATIONS])
def test_an_altered_expectation_fails_alone(alter, name: str):
    tree = copy.deepcopy(_FILE["trees"][_SMALL])
    alter(tree)
    cases = _cases("trees", {"trees": [tree]})
    assert [case.name for case in cases if not case.ok] == [f"small-5-0/{name}"]


def test_an_altered_error_text_fails_alone():
    tree = copy.deepcopy(_FILE["trees"][_BOTTOM])
    failing = next(i for i, closest in enumerate(tree["closest"]) if "error" in closest)
    tree["closest"][failing]["error"] += "!"
    cases = _cases("trees", {"trees": [tree]})
    assert [case.name for case in cases if not case.ok] == [f"raw-two-diff-at-255/closest {failing}/error"]


def test_the_free_path_bits_do_not_hide_other_differences():
    """Where an extension's free bits differ from the network's, each other byte still counts."""
    tree = copy.deepcopy(next(tree for tree in _FILE["trees"] if tree["name"] == "raw-order-0"))
    position = next(i for i, c in enumerate(tree["closest"]) if c.get("sibling_data", "").startswith("02"))
    closest = tree["closest"][position]
    closest["sibling_data"] = closest["sibling_data"][:-1] + "f"
    cases = _cases("trees", {"trees": [tree]})
    assert [case.name for case in cases if not case.ok] == [f"raw-order-0/closest {position}/sibling_data"]


def test_an_altered_generated_tree_or_stream_fails_alone():
    large = copy.deepcopy(_FILE["large"][0])
    large["checkpoints"][2]["root"] = "00" * 48
    failed = [case.name for case in _cases("large", {"large": [large]}) if not case.ok]
    assert failed == ["thousand-0/at 33/root"]
    streams = copy.deepcopy(_FILE["gob_other_type_ids"])
    streams[4]["canonical"] = streams[4]["canonical"][:-2]
    failed = [
        case.name for case in _cases("gob_other_type_ids", {"gob_other_type_ids": streams}) if not case.ok
    ]
    assert failed == ["4"]
    paths = copy.deepcopy(_FILE["proof_path"])
    paths[1]["path"] = "00" * 32
    assert [case.name for case in _cases("proof_path", {"proof_path": paths}) if not case.ok] == ["1"]
