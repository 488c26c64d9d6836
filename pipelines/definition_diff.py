"""What is different between two pipeline definitions, or two templates, in words.

A reviewer of a pull request should see that a training instance has become eight times as dear, not
that line 812 of a JSON document has changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import UserError

Document = dict[str, Any]

_MISSING = object()
_LONGEST = 160  # characters of a value in a sentence
# What an item of a list is known by: its place in the list says nothing.
_NAMES = ("Name", "InputName", "OutputName", "ChannelName", "Sid", "Id", "Key", "PolicyName")
_WORDS = {
    "ImageUri": "image",
    "TrainingImage": "image",
    "Image": "image",
    "InstanceType": "instance type",
    "InstanceCount": "instance count",
    "VolumeSizeInGB": "volume size in GB",
    "MaxRuntimeInSeconds": "longest run in seconds",
    "DependsOn": "depends on",
    "CacheConfig": "cache",
    "RetryPolicies": "retry policies",
}
_COMPARED = {
    "Equals": "=",
    "GreaterThan": ">",
    "GreaterThanOrEqualTo": "≥",
    "LessThan": "<",
    "LessThanOrEqualTo": "≤",
}


@dataclass(frozen=True)
class Difference:
    """One thing that is different."""

    where: str  # "step Train", "parameter Epochs", "resource Key"
    what: str

    @property
    def sentence(self) -> str:
        return f"{self.where}: {self.what}"


def write_diff(old_text: str | bytes, new_text: str | bytes) -> str:
    """The differences of two definitions (JSON) as Markdown that can stand in a comment."""
    return markdown("Pipeline definition", differences(_read(old_text), _read(new_text)))


def markdown(title: str, found: Sequence[Difference]) -> str:
    """A section of a comment: a list, grouped by what the differences are about."""
    lines = [f"### {title}", ""]
    if not found:
        return "\n".join([*lines, "No difference.", ""])
    for where in dict.fromkeys(one.where for one in found):
        about = [one.what for one in found if one.where == where]
        if len(about) == 1:
            lines.append(f"- **{where}**: {about[0]}")
        else:
            lines += [f"- **{where}**", *(f"  - {what}" for what in about)]
    return "\n".join([*lines, ""])


def differences(old: Document, new: Document) -> list[Difference]:
    """What is different between two pipeline definitions: parameters, then steps, then the rest."""
    found: list[Difference] = []
    pairs = _paired(_by_name(old.get("Parameters", [])), _by_name(new.get("Parameters", [])))
    for name, before, after in pairs:
        found += _parameter(name, before, after, _uses(new, name))
    for name, before, after in _paired(_steps(old), _steps(new)):
        found += _step(name, before, after)
    known = ("Parameters", "Steps")
    rest = [{key: one[key] for key in one if key not in known} for one in (old, new)]
    return [*found, *_changed("pipeline", *rest)]


def template_differences(old: Document, new: Document) -> list[Difference]:
    """What is different between two CloudFormation templates, as `read_template` gives them."""
    found: list[Difference] = []
    for section, word in (
        ("Parameters", "parameter"),
        ("Conditions", "condition"),
        ("Resources", "resource"),
        ("Outputs", "output"),
    ):
        for name, before, after in _paired(old.get(section, {}), new.get(section, {})):
            kind = (before if after is _MISSING else after).get("Type", "")
            where = f"{word} {name}" + (f" ({kind})" if section == "Resources" else "")
            if before is _MISSING or after is _MISSING:
                found.append(Difference(where, "added" if before is _MISSING else "**removed**"))
            else:
                found += _changed(where, before, after)
    return found


def _read(text: str | bytes) -> Document:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UserError(
            f"A definition is no JSON ({error}); expected one as `claimflow pipeline "
            "definition` prints it"
        ) from None
    if not isinstance(document, dict) or not (
        _are_named(document.get("Steps")) and _are_named(document.get("Parameters", []))
    ):
        raise UserError(
            "A definition has no Steps, or something in it has no name; expected one as `claimflow "
            "pipeline definition` prints it"
        )
    return document


def _are_named(items: Any) -> bool:
    return isinstance(items, list) and all(
        isinstance(one, dict) and isinstance(one.get("Name"), str) for one in items
    )


def _by_name(items: Sequence[Document]) -> Document:
    return {item["Name"]: item for item in items}


def _paired(old: Document, new: Document) -> Iterator[tuple[str, Any, Any]]:
    """What differs of two mappings, in the order of the new one, then what is gone."""
    for name in [*new, *(name for name in old if name not in new)]:
        before, after = old.get(name, _MISSING), new.get(name, _MISSING)
        if before != after:
            yield name, before, after


def _steps(document: Document) -> Document:
    """All steps by name, those in the branches of a condition too; a branch then holds names."""
    found: Document = {}

    def add(steps: Sequence[Document]) -> None:
        for step in steps:
            arguments = dict(step.get("Arguments", {}))
            for branch in ("IfSteps", "ElseSteps"):
                if branch in arguments:
                    add(arguments[branch])
                    arguments[branch] = [one["Name"] for one in arguments[branch]]
            found[step["Name"]] = {**step, "Arguments": arguments}

    add(document["Steps"])
    return found


def _uses(document: Document, parameter: str) -> list[str]:
    """What a parameter is for, where that is a machine: "instance type of Train"."""
    wanted = {"Get": f"Parameters.{parameter}"}
    return [
        f"{_WORDS[path[-1]]} of {name}"
        for name, step in _steps(document).items()
        for path, value in _leaves(step)
        if value == wanted and path[-1] in _WORDS
    ]


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value and not _is_expression(value):
        for name, one in value.items():
            yield from _leaves(one, (*path, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _leaves(one, (*path, str(number)))
    else:
        yield path, value


def _parameter(name: str, before: Any, after: Any, uses: Sequence[str]) -> list[Difference]:
    where = f"parameter {name}"
    aside = f" ({', '.join(uses)})" if uses else ""
    if before is _MISSING:
        default = after.get("DefaultValue", _MISSING)
        told = "without a default" if default is _MISSING else f"default {_value(default)}"
        return [Difference(where, f"added, {told}{aside}")]
    if after is _MISSING:
        return [Difference(where, "**removed**")]
    return [Difference(where, one.what + aside) for one in _changed(where, before, after)]


def _step(name: str, before: Any, after: Any) -> list[Difference]:
    where = f"step {name}"
    if before is _MISSING:
        return [Difference(where, f"added ({after['Type']})")]
    if after is _MISSING:
        return [Difference(where, f"**removed** (it was a {before['Type']} step)")]
    return _changed(where, before, after)


def _changed(where: str, before: Any, after: Any) -> list[Difference]:
    return [Difference(where, f"{_path(path)}{what}") for path, what in _changes(before, after, ())]


def _changes(
    before: Any, after: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Paths and what has become of the value there."""
    if before == after and type(before) is type(after):
        return
    plain = not (_is_expression(before) or _is_expression(after))
    if isinstance(before, dict) and isinstance(after, dict) and plain:
        for name, one, other in _paired(before, after):
            yield from _changes(one, other, (*path, name))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _list_changes(before, after, path)
    elif before is _MISSING:
        yield path, f"added, {_value(after)}"
    elif after is _MISSING:
        yield path, f"removed, it was {_value(before)}"
    else:
        yield path, f"{_value(before)} → {_value(after)}"


def _list_changes(
    before: list[Any], after: list[Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    key = _naming_key(before, after)
    if key:
        pairs = _paired({one[key]: one for one in before}, {one[key]: one for one in after})
        changed = False
        for name, one, other in pairs:
            changed = True
            yield from _changes(one, other, (*path, str(name)))
        if changed:
            return
    gone = [_value(one) for one in before if one not in after]
    come = [_value(one) for one in after if one not in before]
    if len(gone) == len(come) == 1:
        yield path, f"{gone[0]} → {come[0]}"
    elif gone or come:
        parts = [("added", come), ("removed", gone)]
        yield path, "; ".join(f"{word} {', '.join(items)}" for word, items in parts if items)
    else:
        yield path, "in another order, or another number of times"


def _naming_key(before: Sequence[Any], after: Sequence[Any]) -> str | None:
    """The property that names every item of two lists, if there is one."""
    if not all(isinstance(one, dict) for one in [*before, *after]):
        return None
    for key in _NAMES:
        names = [[one.get(key) for one in items] for items in (before, after)]
        if all(isinstance(name, str) for name in [*names[0], *names[1]]) and all(
            len(set(one)) == len(one) for one in names
        ):
            return key
    return None


def _is_expression(value: Any) -> bool:
    """Whether a value is computed: a reference, a function, a condition."""
    if not isinstance(value, dict):
        return False
    if len(value) == 1:
        name = next(iter(value))
        return name in ("Get", "Ref", "Condition") or name.startswith(("Std:", "Fn::"))
    return "Type" in value and ("LeftValue" in value or "RightValue" in value)


def _path(path: tuple[str, ...]) -> str:
    """A path in words; what the last part says is enough where it is known."""
    if not path:
        return ""
    if path == ("DefaultValue",):
        return "default "
    if path[-1] in _WORDS:
        return f"{_WORDS[path[-1]]} "
    shown = [part for part in path if part not in ("Arguments", "Properties")]
    return f"`{'.'.join(shown or path)}` "


def _value(value: Any) -> str:
    text = _text(value)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    return f"`{text.replace('`', chr(39)).replace(chr(10), ' ')}`"


def _text(value: Any) -> str:
    """A value, and an expression of the pipeline or a template, as a person would say it."""
    if isinstance(value, dict) and _is_expression(value):
        if "LeftValue" in value or "RightValue" in value:
            sign = _COMPARED.get(value["Type"], value["Type"])
            return f"{_text(value.get('LeftValue'))} {sign} {_text(value.get('RightValue'))}"
        ((name, argument),) = value.items()
        if name == "Get":
            return str(argument).removeprefix("Parameters.")
        if name == "Std:Join":
            return str(argument["On"]).join(_text(one) for one in argument["Values"])
        if name == "Std:JsonGet":
            step = _text(argument["PropertyFile"]).removeprefix("Steps.").partition(".")[0]
            return f"{argument['Path']} of {step}"
        if name in ("Ref", "Condition", "Fn::Sub") and isinstance(argument, str):
            return f"!{name.removeprefix('Fn::')} {argument}"
        return f"!{name.removeprefix('Fn::').removeprefix('Std:')} {_text(argument)}"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return str(value)
