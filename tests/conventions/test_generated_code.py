"""The checked-in protobuf code is what proto/ generates today."""

from __future__ import annotations

from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "proto"


def _files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for path in sorted((root / "pocket_protocol" / "pb").rglob("*_pb2.py*"))
        if path.suffix in (".py", ".pyi")
    }


def test_generated_code_is_current(tmp_path: Path) -> None:
    names = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))
    include = Path(protoc.__file__).parent / "_proto"
    arguments = [f"--proto_path={SOURCES}", f"--proto_path={include}", f"--python_out={tmp_path}"]
    assert protoc.main(["protoc", *arguments, f"--pyi_out={tmp_path}", *names]) == 0
    generated, checked_in = _files(tmp_path), _files(ROOT)
    assert sorted(generated) == sorted(checked_in)
    assert [name for name in generated if generated[name] != checked_in[name]] == []


def test_every_generated_package_can_be_imported() -> None:
    packages = {path.parent for path in (ROOT / "pocket_protocol" / "pb").rglob("*_pb2.py")}
    assert [package for package in packages if not (package / "__init__.py").exists()] == []
