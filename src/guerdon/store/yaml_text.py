"""YAML as people write it in recipes: the types of YAML 1.2, and no key twice.

PyYAML follows YAML 1.1, where `1e-5` is text, `no` is false, `1:30` is 90 and a repeated key silently wins.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from guerdon.errors import RecipeError

_RESOLVERS = (  # order matters: a whole number is also a float
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+0123456789.",
    ),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^(?:<<)$", ["<"]),
)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _whole_number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # other styles fold rare line ends such as U+0085 into spaces
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


for _tag, _pattern, _first in _RESOLVERS:
    for _side in (_Loader, _Dumper):
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Dumper.add_representer(str, _text)


def load(text: str, source: str) -> Any:
    """The data in a YAML document.

    Args:
        text: the document.
        source: its file name, for messages.

    Raises:
        RecipeError: broken YAML, with line and column counted from 1.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
        raise RecipeError(f"{place}: not valid YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error


def dump(data: Any) -> str:
    """A YAML document that `load` reads back equal; innermost mappings and lists stand on one line.

    Raises:
        RecipeError: data that YAML has no plain form for.
    """
    try:
        return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None)
    except yaml.YAMLError as error:
        raise RecipeError(f"cannot be written as YAML: {error}") from error


def parse_assignment(text: str) -> tuple[str, Any]:
    """`key=value` with the value typed as in YAML: `clip=[0.2, 0.28]`, `lr=1e-5`, `out=null`, `name=abc`.

    Raises:
        RecipeError: no `=`, no key, or a value that is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {text}: expected key=value, for example --set sampler.group=8")
    return key.strip(), load(value, f"--set {text}")
