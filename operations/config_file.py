"""Bind a YAML file to frozen dataclasses and report every problem at once (decisions.md G).

    file.yaml:12: services.anvil.backends.json-rpc: unknown backend type ...

Wrong types and values are errors. Unknown keys and retired ones (a section's `SUPERSEDED` table) are
warnings, or errors when strict. A key written with null keeps its default (spec/relayer.md §6.1). No
environment variable is read here and nothing is expanded.

A section is a frozen dataclass whose fields are made by `setting()`. It may also have
    SUPERSEDED: ClassVar[dict[str, str]]   retired keys and what replaces them
    SCALAR_KEY: ClassVar[str]              the key a plain text in place of the map stands for
    def remarks(self) -> Iterator[Remark]  checks that need more than one value
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from operations import yaml_tree
from operations.config_scalar import WrongValue, check_bounds, kind_name, read_scalar
from operations.setting import Remark, Rule, default_of, rule_of
from pocket_protocol.errors import Malformed

Section = TypeVar("Section")
KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding in a configuration file; `line` is 1-based."""

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}"
        return f"{where}: {self.key}: {self.text}" if self.key else f"{where}: {self.text}"


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Section]):
    """A configuration, what is odd about its file, and the dotted keys the file itself gave."""

    config: Section
    warnings: tuple[Problem, ...]
    given: frozenset[str]


class ConfigInvalid(Malformed):
    """The file cannot be used; `problems` and `warnings` list all there is to say, in the file's order."""

    reason = "config_invalid"
    summary = "configuration is invalid"

    def __init__(self, problems: tuple[Problem, ...], warnings: tuple[Problem, ...] = ()) -> None:
        super().__init__(self.summary)
        self.problems = problems
        self.warnings = warnings

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def load(path: str | Path, schema: type[Section], *, strict: bool = False) -> Loaded[Section]:
    """Read the YAML file at `path` into `schema`. Raises ConfigInvalid; `strict` makes warnings errors."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigInvalid((Problem(str(path), 1, "", f"cannot be read: {reason}"),)) from None
    return bind(text, schema, file=str(path), strict=strict)


def bind(
    text: str | bytes, schema: type[Section], *, file: str = "<config>", strict: bool = False
) -> Loaded[Section]:
    """Bind YAML text to `schema`. Raises ConfigInvalid with every problem of the text."""
    binder = _Binder(file)
    try:
        root = yaml_tree.parse(text)
    except yaml_tree.YamlUnreadable as error:
        raise ConfigInvalid((Problem(file, error.line, "", error.text),)) from None
    config = binder.section(schema, root, (), schema()) if root is not None else schema()
    binder.collect_remarks(config, ())
    warnings = sorted(set(binder.warnings), key=_place)
    errors = sorted(set(binder.errors) | set(warnings if strict else ()), key=_place)
    if errors:
        raise ConfigInvalid(tuple(errors), () if strict else tuple(warnings))
    return Loaded(config, tuple(warnings), frozenset(".".join(path) for path in binder.lines if path))


def describe(schema: type, prefix: str = "") -> list[tuple[str, str, str, str]]:
    """Return (dotted key, type, default, meaning) of every setting; the source of the documentation."""
    rows: list[tuple[str, str, str, str]] = []
    hints = get_type_hints(schema)
    for item in dataclasses.fields(schema):
        rule, kind = rule_of(item), hints[item.name]
        key = prefix + (rule.key or item.name)
        if dataclasses.is_dataclass(kind) and rule.parse is None:
            rows.extend(describe(kind, key + "."))  # type: ignore[arg-type]
        elif get_origin(kind) in (Mapping, tuple) and dataclasses.is_dataclass(_item_kind(kind)):
            rows.extend(
                describe(_item_kind(kind), key + (".<name>." if get_origin(kind) is Mapping else "[]."))
            )
        else:
            name = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
            rows.append((key, name.replace("typing.", ""), repr(default_of(item)), rule.doc))
    return rows


def _item_kind(kind: Any) -> Any:
    arguments = get_args(kind)
    return arguments[1] if get_origin(kind) is Mapping else arguments[0]


class _Binder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.lines: dict[KeyPath, int] = {}
        self._faulty: set[KeyPath] = set()

    def error(self, node: Node, path: KeyPath, text: str) -> None:
        """Note an error at the line of the key, or of the value where the key is not the last one seen."""
        self._faulty.add(path)
        line = self.lines.get(path, yaml_tree.line_of(node))
        self.errors.append(Problem(self.file, line, _dotted(path), text))

    def warn(self, path: KeyPath, text: str) -> None:
        self.warnings.append(Problem(self.file, self.lines[path], _dotted(path), text))

    def section(self, schema: Any, node: Node, path: KeyPath, base: Any) -> Any:
        """Bind a map node over the defaults in `base`, an instance of `schema`."""
        scalar_key = getattr(schema, "SCALAR_KEY", "")
        if scalar_key and isinstance(node, ScalarNode):
            node = MappingNode(
                "tag:yaml.org,2002:map",
                [(ScalarNode("tag:yaml.org,2002:str", scalar_key, node.start_mark), node)],
                node.start_mark,
            )
        if not isinstance(node, MappingNode):
            self.error(node, path, f"must be a map of settings, not {kind_name(node)}")
            return base
        fields = {rule_of(item).key or item.name: item for item in dataclasses.fields(schema)}
        hints = get_type_hints(schema)
        values = {}
        for key, child in self._unique_entries(node, path):
            item = fields.get(key)
            if item is None:
                self._unknown_key(schema, key, tuple(fields), child, path)
            elif not yaml_tree.is_null(child):
                kind, rule, current = hints[item.name], rule_of(item), getattr(base, item.name)
                values[item.name] = self._setting(kind, rule, child, (*path, key), current)
        return dataclasses.replace(base, **values)

    def _unique_entries(self, node: MappingNode, path: KeyPath) -> list[tuple[str, Node]]:
        seen: dict[str, Node] = {}
        for key_node, child in yaml_tree.entries(node):
            if not isinstance(key_node, ScalarNode):
                self.error(key_node, path, f"a key must be plain text, not {kind_name(key_node)}")
            elif key_node.value in seen:
                line, twice = yaml_tree.line_of(key_node), (*path, key_node.value)
                self.errors.append(Problem(self.file, line, _dotted(twice), "is given twice"))
            else:
                seen[key_node.value] = child
                self.lines[(*path, key_node.value)] = yaml_tree.line_of(key_node)
        return list(seen.items())

    def _unknown_key(self, schema: Any, key: str, known: tuple[str, ...], node: Node, path: KeyPath) -> None:
        retired = getattr(schema, "SUPERSEDED", {})
        if key in retired:
            if not yaml_tree.is_null(node):
                self.warn((*path, key), f"is not used: {retired[key]}")
            return
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        hint = f' (did you mean "{close[0]}"?)' if close else ""
        self.warn((*path, key), f"unknown key, ignored{hint}")

    def _setting(self, kind: Any, rule: Rule, node: Node, path: KeyPath, current: Any) -> Any:
        try:
            value = self._value(kind, rule, node, path, current)
            if rule.blank_is_default and not value:
                return current
            check_bounds(rule, value)
        except WrongValue as wrong:
            self.error(node, path, str(wrong))
            return current
        return value

    def _value(self, kind: Any, rule: Rule, node: Node, path: KeyPath, current: Any) -> Any:
        arguments = [argument for argument in get_args(kind) if argument is not type(None)]
        if type(None) in get_args(kind):
            kind = arguments[0]
        origin = get_origin(kind)
        if rule.parse is not None and origin not in (Mapping, tuple):
            return read_scalar(kind, rule, node)
        if dataclasses.is_dataclass(kind):
            base = current if isinstance(current, kind) else kind()  # type: ignore[arg-type]
            return self.section(kind, node, path, base)
        if origin is Mapping:
            return self._map(get_args(kind)[1], rule, node, path, current)
        if origin is tuple:
            return self._list(get_args(kind)[0], rule, node, path)
        return read_scalar(kind, rule, node)

    def _map(self, kind: Any, rule: Rule, node: Node, path: KeyPath, current: Any) -> dict[str, Any]:
        if not isinstance(node, MappingNode):
            raise WrongValue(f"must be a map, not {kind_name(node)}")
        bound = dict(current) if rule.merge else {}
        inner = dataclasses.replace(rule, key="", required=False, blank_is_default=False)
        for key, child in self._unique_entries(node, path):
            if yaml_tree.is_null(child) and key in bound:
                continue
            base = kind() if dataclasses.is_dataclass(kind) else None  # type: ignore[operator]
            if yaml_tree.is_null(child):
                bound[key] = base if base is not None else ""
            else:
                bound[key] = self._setting(kind, inner, child, (*path, key), base)
        return bound

    def _list(self, kind: Any, rule: Rule, node: Node, path: KeyPath) -> tuple[Any, ...]:
        if not isinstance(node, SequenceNode):
            raise WrongValue(f"must be a list, not {kind_name(node)}")
        inner = dataclasses.replace(rule, key="", required=False, blank_is_default=False)
        bound = []
        for index, child in enumerate(node.value):
            item_path = (*path, f"[{index}]")
            self.lines[item_path] = yaml_tree.line_of(child)
            base = kind() if dataclasses.is_dataclass(kind) else None
            bound.append(self._setting(kind, inner, child, item_path, base))
        return tuple(bound)

    def collect_remarks(self, value: Any, path: KeyPath) -> None:
        """Ask every section of the bound tree for its remarks; those on an already faulty key are dropped."""
        if isinstance(value, Mapping):
            for key, item in value.items():
                self.collect_remarks(item, (*path, str(key)))
            return
        if isinstance(value, tuple):
            for index, item in enumerate(value):
                self.collect_remarks(item, (*path, f"[{index}]"))
            return
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            return
        for item in dataclasses.fields(value):
            rule, inner = rule_of(item), getattr(value, item.name)
            key = rule.key or item.name
            if rule.required and inner in ("", ()):
                self._remark(path, Remark((key,), "is required"))
            self.collect_remarks(inner, (*path, key))
        for remark in getattr(value, "remarks", tuple)():
            self._remark(path, remark)

    def _remark(self, path: KeyPath, remark: Remark) -> None:
        whole = (*path, *remark.path)
        if any(whole[: len(faulty)] == faulty or faulty[: len(whole)] == whole for faulty in self._faulty):
            return
        nearest = next((whole[:n] for n in range(len(whole), 0, -1) if whole[:n] in self.lines), ())
        problem = Problem(self.file, self.lines.get(nearest, 1), _dotted(whole), remark.text)
        (self.warnings if remark.warning else self.errors).append(problem)


def _dotted(path: KeyPath) -> str:
    return ".".join(path).replace(".[", "[")


def _place(problem: Problem) -> tuple[int, str]:
    return problem.line, problem.key
