"""The conformance command: what it counts, what it finds, how it ends."""

from __future__ import annotations

import copy
import gzip
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pocket_protocol import __version__
from relay_cli.conformance.check import Case, Context, NotApplicable, VectorFile
from relay_cli.conformance.registry import candidates_for, vector_files
from relay_cli.conformance.report import MAX_VALUE_CHARACTERS, check_document, shown
from relay_cli.main import COMMANDS, cli
from tests.vectors import DIRECTORY, load

# counted by hand from the files: entries x expectations of each
COUNTS = {
    "chain_sessions": {
        "cases": 48 * (17 + 2),
        "param_sets": 7 * 3,
        "supplier_selection": 9 * 3 + 2 * (1 + 2 + 5 + 15 + 16 + 20 + 40 + 14 + 50),
    },
    "chain_economics": {
        "claims": 93 * 5,
        "difficulty_checks": 7,
        "difficulty_multipliers": 5 * 2 + 1,
        "difficulty_targets": 10,
        "difficulty_update_chain": 30 * 2,
        "ema_steps": 20,
        "go_math_rand": 14 * 6,
        "proof_requirement_draws": 30 * (6 + 3 + 5),
        "seeded_functions": 5 * 4,
        "settlement_arithmetic": 6 * 4,
        "varint_decoding": 9 * 2,
    },
    "chain_gorand_table": {"table_uint64": 1 + 607},
}


def _run(*arguments: str):
    return CliRunner().invoke(cli, ["conformance", *arguments])


def _write(directory, name, document):
    path = directory / name
    path.write_text(json.dumps(document))
    return str(path)


@pytest.mark.parametrize("name", COUNTS)
def test_all_cases_agree_and_none_is_left_out(name):
    result = _run("--json", str(DIRECTORY / f"{name}.json.gz"))
    assert result.exit_code == 0, result.output
    (file,) = json.loads(result.stdout)["files"]
    assert {s["section"]: s["checked"] for s in file["sections"]} == COUNTS[name]
    assert (file["failed"], file["unknown"], file["not_applicable"]) == (0, [], [])
    assert all(section["cases"] == [] for section in file["sections"])


@pytest.mark.parametrize(
    ("name", "section", "index", "keys", "value", "case"),
    [
        ("chain_sessions", "cases", 3, ("session_id",), "00" * 32, "case 4 session_id"),
        ("chain_sessions", "cases", 40, ("heights", "claim_window_open"), -1, "claim_window_open"),
        ("chain_sessions", "param_sets", 0, ("validate_basic_error",), "x", "default_genesis rules"),
        ("chain_sessions", "supplier_selection", 4, ("session_suppliers_in_order",), [], "suppliers"),
        ("chain_economics", "claims", 0, ("claimed_upokt",), "4201", "case 0 claimed_upokt"),
        ("chain_economics", "difficulty_checks", 0, ("volume_applicable",), True, "0"),
        ("chain_economics", "difficulty_update_chain", 7, ("new_ema",), 1, "step 7 ema"),
        ("chain_economics", "go_math_rand", 2, ("uint64_number_1500",), "1", "number 1500"),
        ("chain_economics", "proof_requirement_draws", 5, ("sample", "hex"), "0x1p-01", "sample hex"),
        ("chain_economics", "settlement_arithmetic", 1, ("inflation_upokt",), "0", "1 inflation_upokt"),
        ("chain_economics", "varint_decoding", 8, ("n",), 1, "80 bytes read"),
    ],
)
def test_one_altered_expectation_is_the_one_failed_case(tmp_path, name, section, index, keys, value, case):
    document = copy.deepcopy(load(name))
    holder = document[section][index]
    for key in keys[:-1]:
        holder = holder[key]
    holder[keys[-1]] = value
    result = _run("--json", _write(tmp_path, f"{name}.json", document))
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["failed"] == 1
    assert answer["checked"] == sum(COUNTS[name].values())
    found = {s["section"]: s["cases"] for s in answer["files"][0]["sections"] if s["cases"]}
    assert list(found) == [section]
    assert found[section][0]["case"].endswith(case)
    assert found[section][0]["expected"] == value
    assert found[section][0]["got"] != value


def test_a_changed_word_of_the_table_is_found(tmp_path):
    document = copy.deepcopy(load("chain_gorand_table"))
    document["table_uint64"][606] = "1"
    result = _run("--json", _write(tmp_path, "chain_gorand_table.json", document))
    ((case,),) = [s["cases"] for s in json.loads(result.stdout)["files"][0]["sections"]]
    assert case["case"] == "word 606"


def test_a_section_nobody_knows_is_named_and_ends_with_1(tmp_path):
    document = {**load("chain_gorand_table"), "surprise": [1]}
    path = _write(tmp_path, "chain_gorand_table.json", document)
    result = _run("--json", path)
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["failed"], answer["files"][0]["unknown"]) == (0, ["surprise"])
    readable = _run(path)
    assert readable.exit_code == 1
    assert "surprise" in readable.output
    assert "unknown" in readable.output


def test_a_section_that_cannot_be_read_fails_and_the_others_are_checked(tmp_path):
    document = {**load("chain_economics"), "ema_steps": 5}
    result = _run("--json", _write(tmp_path, "chain_economics.json", document))
    assert result.exit_code == 1
    sections = {s["section"]: s for s in json.loads(result.stdout)["files"][0]["sections"]}
    assert (sections["ema_steps"]["checked"], sections["ema_steps"]["failed"]) == (1, 1)
    assert "TypeError" in sections["ema_steps"]["cases"][0]["got"]
    assert sections["claims"]["checked"] == COUNTS["chain_economics"]["claims"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1, 2]", "no JSON object"),
        (gzip.compress(b"{}", mtime=0)[:-4], "cannot be read"),
    ],
)
def test_a_file_that_is_no_vectors_file_ends_with_2(tmp_path, content, text):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    result = _run("--json", str(path))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert text in result.stderr
    assert "broken.json" in result.stderr


def test_a_missing_file_ends_with_2(tmp_path):
    result = _run(str(tmp_path / "nowhere.json"))
    assert result.exit_code == 2
    assert "nowhere.json: cannot be read: No such file" in result.stderr


def test_without_files_the_usage_is_shown():
    assert _run().exit_code == 2


def test_several_files_are_summed_up():
    paths = [str(DIRECTORY / f"{name}.json.gz") for name in COUNTS]
    answer = json.loads(_run("--json", *paths).stdout)
    assert [f["file"] for f in answer["files"]] == paths
    assert answer["checked"] == sum(sum(sections.values()) for sections in COUNTS.values())


def test_the_readable_table_names_failures_with_both_values(tmp_path):
    document = copy.deepcopy(load("chain_economics"))
    document["ema_steps"][3]["new_ema"] = "[bold]7\x1b[2J"
    result = _run(_write(tmp_path, "chain_economics.json", document))
    assert result.exit_code == 1
    assert "expected [bold]7\\x1b[2J" in result.output
    assert "got      0" in result.output


def test_a_renamed_file_is_known_by_its_name_or_its_sections(tmp_path):
    table = load("chain_gorand_table")
    for name in ("altered_chain_gorand_table.json", "copy.json", "no-suffix"):
        path = tmp_path / name
        assert [f.name for f in candidates_for(path, table)] == ["chain_gorand_table"]
    assert candidates_for(tmp_path / "copy.json", {"nothing": 1}) == []


def test_of_several_kinds_that_look_alike_the_fitting_one_is_taken():
    def agrees(value, document):
        yield Case("a", 1, 1)

    def differs(value, document):
        yield Case("a", 1, 2)

    kinds = [VectorFile("x", {"v": differs}), VectorFile("y", {"v": agrees})]
    assert check_document("f", {"v": 0}, kinds, lambda *_: None).ok


def test_what_does_not_apply_is_named_and_not_counted():
    sections = {"nodes": NotApplicable("ours keeps none"), "log": NotApplicable(""), "about": Context()}
    kind = VectorFile("x", sections, {"a field": "as well"})
    report = check_document("f", {"nodes": [1], "about": ""}, [kind], lambda *_: None)
    assert report.to_json() == {
        "file": "f",
        "sections": [],
        "checked": 0,
        "failed": 0,
        "unknown": [],
        "not_applicable": ["a field", "nodes"],
    }


def test_long_values_are_cut_around_the_difference():
    expected, got = shown(Case("long", "a" * 5000 + "x", b"\xaa" * 2500))
    assert len(expected) < MAX_VALUE_CHARACTERS
    assert expected.startswith("…")
    assert "x" in expected
    assert "x" not in got
    assert shown(Case("plain", {"k": b"\x01"}, (1, None, float("nan")))) == ({"k": "01"}, [1, None, "nan"])


def test_names_of_kinds_are_the_files_they_are_for():
    assert COUNTS.keys() <= vector_files().keys()
    assert all(name == file.name for name, file in vector_files().items())


def test_help_shows_each_command_without_loading_it():
    loaded = "celery", "flask", "gevent", "grpc", "redis", "relay_cli.conformance.command"
    script = (
        "import sys; from relay_cli.main import cli; cli(['-h'], standalone_mode=False); "
        f"print([name for name in {loaded!r} if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"
    assert all(f"  {name} " in out for name in COMMANDS)


def test_conformance_loads_neither_celery_nor_the_store():
    script = (
        "import sys; from relay_cli.main import cli; "
        f"cli(['conformance', {str(DIRECTORY / 'chain_gorand_table.json.gz')!r}], standalone_mode=False); "
        "print([name for name in ('celery', 'redis', 'flask', 'gevent') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", ["conformance", "version"])
def test_help_teaches_with_an_example(name):
    result = CliRunner().invoke(cli, [name, "-h"])
    assert result.exit_code == 0
    assert "Example:" in result.output
    assert f"pocket-relay-miner {name}" in result.output


def test_an_unknown_command_ends_with_2():
    assert CliRunner().invoke(cli, ["nothing"]).exit_code == 2


def test_version():
    assert __version__ in CliRunner().invoke(cli, ["version"]).output
