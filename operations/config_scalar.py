"""Plain values of a configuration file: from a YAML scalar to the type its setting names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from operations import yaml_tree
from operations.setting import Rule, shown

_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]{1,3}")  # which YAML 1.1 takes for a text


class WrongValue(Exception):
    """A value that does not fit its setting; the binder turns it into a Problem."""


def kind_name(node: Node) -> str:
    """Return how a message calls what stands there."""
    if isinstance(node, MappingNode):
        return "a map"
    if isinstance(node, SequenceNode):
        return "a list"
    if not isinstance(node, ScalarNode):
        return "something else"
    return {"null": "nothing", "int": "a number", "float": "a number", "bool": "true or false"}.get(
        yaml_tree.scalar_kind(node), "a text"
    )


def _parsed(parse: Callable[[str], Any], rule: Rule, node: ScalarNode) -> Any:
    try:
        return parse(node.value.strip())
    except ValueError as error:
        raise WrongValue("cannot be read" if rule.secret else str(error)) from None


def read_scalar(kind: Any, rule: Rule, node: Node) -> Any:
    """Return the node's value as `kind` (str, int, float, bool, a Literal, or what `rule.parse` makes).

    A text setting takes any plain value as written, so `password: 123` is the text "123".
    Raises WrongValue.
    """
    if not isinstance(node, ScalarNode):
        raise WrongValue(f"must be {_wanted(kind)}, not {kind_name(node)}")
    if rule.parse is not None:
        return _parsed(rule.parse, rule, node)
    if get_origin(kind) is Literal:
        return _choice(get_args(kind), node.value)
    if kind is str:
        return node.value
    text = "the value" if rule.secret else shown(node.value)
    tag = yaml_tree.scalar_kind(node)
    is_plain = node.style not in ("'", '"')
    if tag == "str" and is_plain and _EXPONENT.fullmatch(node.value):
        tag, node = "float", ScalarNode("tag:yaml.org,2002:float", str(float(node.value)))
    try:
        value = yaml_tree.scalar_value(node)
    except (ValueError, OverflowError):
        raise WrongValue(f"must be {_wanted(kind)}, not {text}") from None
    if kind is bool and isinstance(value, bool):
        return value
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if value != value or value in (float("inf"), float("-inf")):
            raise WrongValue(f"must be a finite number, not {text}")
        return float(value)
    if kind is int and tag in ("int", "float") and isinstance(value, (int, float)) and value == value // 1:
        return int(value)
    quoted = " (write it without quotes)" if tag == "str" and not is_plain else ""
    raise WrongValue(f"must be {_wanted(kind)}, not {text}{quoted}")


def _choice(choices: tuple[str, ...], text: str) -> str:
    if text in choices:
        return text
    close = difflib.get_close_matches(text.lower(), choices, n=1, cutoff=0.5)
    hint = f' (did you mean "{close[0]}"?)' if close else ""
    raise WrongValue(f"is invalid: {shown(text)} (valid: {', '.join(choices)}){hint}")


def _wanted(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a text")


def check_bounds(rule: Rule, value: Any) -> None:
    """Raise WrongValue when a number is outside its setting's bounds."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    if rule.minimum is not None and value < rule.minimum:
        raise WrongValue(f"must be at least {rule.minimum:g}, not {value:g}")
    if rule.maximum is not None and value > rule.maximum:
        raise WrongValue(f"must be at most {rule.maximum:g}, not {value:g}")
