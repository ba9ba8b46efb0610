"""A YAML document as nodes that know their line; refuses what a configuration file never needs."""

from __future__ import annotations

from collections.abc import Iterator

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_DOCUMENT_BYTES = 4 << 20
MAX_NODES = 200_000

# libyaml's parser where the wheel has it: ten times faster, same grammar
_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlUnreadable(Exception):
    """The text is no YAML document; carries the line (1-based) and a sentence."""

    def __init__(self, line: int, text: str) -> None:
        self.line = line
        self.text = text
        super().__init__(text)


def parse(text: str | bytes) -> Node | None:
    """Return the root node of one YAML document, None for an empty one. Raises YamlUnreadable."""
    if len(text) > MAX_DOCUMENT_BYTES:
        raise YamlUnreadable(1, f"the file is larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            _flatten(loader, root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlUnreadable(mark.line + 1 if mark else 1, f"not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YamlUnreadable(1, f"not valid YAML: {type(error).__name__}") from None
    except RecursionError:
        raise YamlUnreadable(1, "not valid YAML: nested too deeply") from None
    return root


def _flatten(loader: yaml.SafeLoader, root: Node | None) -> None:
    """Resolve `<<` merges; count what aliases expand to, so that a small file cannot stand for a huge one."""
    pending: list[tuple[Node, int]] = [(root, 0)] if root is not None else []
    visited = 0
    while pending:
        node, depth = pending.pop()
        visited += 1
        if visited > MAX_NODES or depth > 64:
            raise YamlUnreadable(line_of(node), "the file's aliases expand to too much")
        if isinstance(node, MappingNode):
            _merge(loader, node)
            pending.extend((child, depth + 1) for pair in node.value for child in pair)
        elif isinstance(node, SequenceNode):
            pending.extend((child, depth + 1) for child in node.value)


def _merge(loader: yaml.SafeLoader, node: MappingNode) -> None:
    """Put what `<<` names before the map's own entries, without those the map gives itself."""
    own = [pair for pair in node.value if pair[0].tag != "tag:yaml.org,2002:merge"]
    if len(own) == len(node.value):
        return
    given = {key.value for key, _ in own if isinstance(key, ScalarNode)}
    loader.flatten_mapping(node)
    merged = node.value[: len(node.value) - len(own)]
    kept = {key.value: (key, value) for key, value in merged if isinstance(key, ScalarNode)}
    node.value = [pair for name, pair in kept.items() if name not in given] + own


def line_of(node: Node) -> int:
    """Return the 1-based line where `node` begins."""
    return int(node.start_mark.line) + 1


def is_null(node: Node) -> bool:
    """Tell whether the node is YAML's null (`key:`, `key: ~`, `key: null`)."""
    return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def scalar_kind(node: ScalarNode) -> str:
    """Return `int`, `float`, `bool`, `null`, `str`, … as YAML's core rules read the plain scalar."""
    return str(node.tag).rsplit(":", 1)[-1]


def scalar_value(node: ScalarNode) -> object:
    """Return the Python value of a scalar. Raises ValueError when its text does not fit its tag."""
    constructor = yaml.constructor.SafeConstructor()
    try:
        return constructor.construct_object(node)
    except (
        yaml.YAMLError,
        LookupError,
        AttributeError,
    ):  # the library takes it that a tag's text has its form
        raise ValueError("cannot be read") from None


def entries(node: MappingNode) -> Iterator[tuple[Node, Node]]:
    """Yield (key node, value node) in the file's order."""
    yield from node.value
