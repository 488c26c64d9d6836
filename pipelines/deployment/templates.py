"""CloudFormation templates: read, and resolved as far as they can be without CloudFormation.

Only what our templates use is understood; anything else is refused by name. What the functions mean
stands in the CloudFormation user guide, "Intrinsic function reference".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

Document = dict[str, Any]

_NO_VALUE = object()
_PLACEHOLDER = re.compile(r"\$\{(!?)([^}]+)\}")
_ZONES = "abc"
_FUNCTIONS = {
    f"Fn::{name}": f"_{name.lower()}"
    for name in (
        *("GetAtt", "Sub", "Join", "Select", "Split", "Base64", "FindInMap", "GetAZs"),
        *("If", "Equals", "Not", "And", "Or"),
    )
}


@dataclass(frozen=True)
class Resource:
    """One resource of a template, not resolved yet."""

    id: str  # the logical id
    type: str
    properties: Document
    keeps: bool = False  # whether it stays when its stack is deleted

    @property
    def name_property(self) -> str | None:
        """The property that holds its name, if it has one: `BucketName`, `RoleName`, `Name`, …"""
        kind = self.type.rpartition("::")[2]
        for name in self.properties:
            if name.endswith("Name") and kind.endswith(name.removesuffix("Name")):
                return name
        return None


@cache
def read_template(path: Path) -> Document:
    """A template with the short forms (`!Ref x`) written out (`{"Ref": "x"}`)."""
    document = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a safe loader
    assert isinstance(document, dict)
    return document


class Template:
    """A template with values for its parameters.

    `known` gives what `Ref` (attribute None) or `Fn::GetAtt` of a resource stand for.
    """

    def __init__(
        self,
        document: Document,
        parameters: Mapping[str, str],
        pseudo: Mapping[str, str],
        known: Callable[[str, str | None], Any],
    ) -> None:
        self._document = document
        self._pseudo = pseudo
        self._known = known
        self._values = {
            name: _parameter(name, described, parameters)
            for name, described in document.get("Parameters", {}).items()
        }

    @property
    def resources(self) -> list[Resource]:
        """Those whose condition holds, each after the ones that it needs."""
        described = {
            name: one
            for name, one in self._document["Resources"].items()
            if "Condition" not in one or self._holds(one["Condition"])
        }
        ordered: dict[str, Resource] = {}

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in ordered or name not in described:
                return
            if name in path:
                raise ValueError(f"resources need each other: {' -> '.join([*path, name])}")
            one = described[name]
            needed = one.get("DependsOn", [])
            needs = [needed] if isinstance(needed, str) else list(needed)
            for other in [*needs, *self._references(one.get("Properties", {}))]:
                visit(other, (*path, name))
            keeps = one.get("DeletionPolicy", "Delete").startswith("Retain")
            ordered[name] = Resource(name, one["Type"], one.get("Properties", {}), keeps)

        for name in described:
            visit(name, ())
        return list(ordered.values())

    def outputs(self) -> dict[str, str]:
        """Those whose condition holds, by key."""
        return {
            name: str(self.resolve(one["Value"]))
            for name, one in self._document.get("Outputs", {}).items()
            if "Condition" not in one or self._holds(one["Condition"])
        }

    def resolve(self, value: Any) -> Any:
        """A value with all functions replaced by what they give."""
        if isinstance(value, list):
            items = [self.resolve(one) for one in value]
            return [one for one in items if one is not _NO_VALUE]
        if not isinstance(value, dict):
            return value
        function = _function(value)
        if function is None:
            pairs = {name: self.resolve(one) for name, one in value.items()}
            return {name: one for name, one in pairs.items() if one is not _NO_VALUE}
        if function == "Ref":
            return self._reference(value["Ref"])
        if function == "Condition":
            return self._holds(value["Condition"])
        if function not in _FUNCTIONS:
            raise ValueError(f"the function {function} is not known here")
        return getattr(self, _FUNCTIONS[function])(value[function])

    def _reference(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._values:
            return self._values[name]
        if name in self._document["Resources"]:
            return self._known(name, None)
        raise ValueError(f"Ref {name}: there is no such parameter or resource")

    def _getatt(self, argument: str | list[str]) -> Any:
        name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
        if name not in self._document["Resources"]:
            raise ValueError(f"GetAtt {name}: there is no such resource")
        return self._known(name, attribute)

    def _sub(self, argument: Any) -> str:
        text, given = argument if isinstance(argument, list) else (argument, {})

        def replaced(match: re.Match[str]) -> str:
            is_literal, name = match.groups()
            if is_literal:
                return f"${{{name}}}"
            if name in given:
                return str(self.resolve(given[name]))
            return str(self._getatt(name) if "." in name else self._reference(name))

        return _PLACEHOLDER.sub(replaced, text)

    def _join(self, argument: list[Any]) -> str:
        separator, values = argument
        return str(separator).join(str(one) for one in self.resolve(values))

    def _select(self, argument: list[Any]) -> Any:
        index, values = argument
        return self.resolve(values)[int(self.resolve(index))]

    def _split(self, argument: list[Any]) -> list[str]:
        separator, text = argument
        return str(self.resolve(text)).split(separator)

    def _base64(self, argument: Any) -> str:
        import base64

        return base64.b64encode(str(self.resolve(argument)).encode()).decode()

    def _findinmap(self, argument: list[Any]) -> Any:
        name, first, second = (self.resolve(one) for one in argument)
        return self._document["Mappings"][name][first][second]

    def _getazs(self, argument: Any) -> list[str]:
        region = self.resolve(argument) or self._pseudo["AWS::Region"]
        return [f"{region}{letter}" for letter in _ZONES]

    def _if(self, argument: list[Any]) -> Any:
        condition, then, otherwise = argument
        return self.resolve(then if self._holds(condition) else otherwise)

    def _equals(self, argument: list[Any]) -> bool:
        left, right = self.resolve(argument)
        return str(left) == str(right)

    def _not(self, argument: list[Any]) -> bool:
        return not self.resolve(argument[0])

    def _and(self, argument: list[Any]) -> bool:
        return all(self.resolve(argument))

    def _or(self, argument: list[Any]) -> bool:
        return any(self.resolve(argument))

    def _holds(self, condition: str) -> bool:
        return bool(self.resolve(self._document["Conditions"][condition]))

    def _references(self, value: Any) -> Iterator[str]:
        """The resources that a value refers to, as far as its conditions let it."""
        if isinstance(value, list):
            for one in value:
                yield from self._references(one)
            return
        if not isinstance(value, dict):
            return
        function = _function(value)
        argument: Any = value[function] if function else None
        if function == "Ref":
            yield str(argument)
        elif function == "Fn::GetAtt":
            yield argument.split(".")[0] if isinstance(argument, str) else argument[0]
        elif function == "Fn::If":
            yield from self._references(argument[1 if self._holds(argument[0]) else 2])
        else:
            if function == "Fn::Sub":
                text = argument[0] if isinstance(argument, list) else argument
                yield from (name.split(".")[0] for no, name in _PLACEHOLDER.findall(text) if not no)
            for one in value.values():
                yield from self._references(one)


def _parameter(name: str, described: Document, given: Mapping[str, str]) -> Any:
    if name not in given and "Default" not in described:
        raise ValueError(f"the parameter {name} has neither a value nor a default")
    value = given.get(name, described.get("Default"))
    allowed = described.get("AllowedValues")
    if allowed and str(value) not in {_text(one) for one in allowed}:
        raise ValueError(f"the parameter {name} is {value!r}; allowed: {allowed}")
    if "List" not in described["Type"]:
        return _text(value)
    return [one.strip() for one in str(value).split(",") if one.strip()]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _function(value: Document) -> str | None:
    """The function that a mapping of one item is, if it is one."""
    if len(value) != 1:
        return None
    ((name, argument),) = value.items()
    if name == "Condition":  # in a policy it is no function, but a block of its own
        return name if isinstance(argument, str) else None
    return name if name == "Ref" or name.startswith("Fn::") else None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as CloudFormation reads it: dates are text, and tags are functions."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as in the class above it
        first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _short_form(loader: Any, suffix: str, node: Any) -> Document:
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)
