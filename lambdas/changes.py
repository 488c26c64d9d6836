"""What has changed since another execution: in the definition, the parameters and the data.

Each change is a sentence of one line. What a training does not depend on (its commit, its cause) is
no change: a commit that changes no image, no step and no parameter leaves nothing to train again.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lambdas import layout
from lambdas.datasets import DataVersion

Document = dict[str, Any]

ABOUT_THE_START = ("CodeVersion", "Cause", "DataManifest")
DATA = ("TrainData", "TestData")
IMAGES = ("ImageUri", "TrainingImage", "Image")
BRANCHES = ("IfSteps", "ElseSteps")
LONGEST_VALUE = 80  # characters
_VERSION = re.compile(r"/versions/([0-9a-f]{16})/")


@dataclass(frozen=True)
class Content:
    """What an execution runs with: a pipeline definition, and the parameters given to it."""

    definition: Document
    given: Mapping[str, str]

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The value of each parameter, as its type, but for those that only tell of the start."""
        return {
            one["Name"]: _value(one["Type"], self.given.get(one["Name"], one.get("DefaultValue")))
            for one in self.definition.get("Parameters", [])
            if one["Name"] not in ABOUT_THE_START
        }

    @cached_property
    def structure(self) -> Document:
        """The definition without the parameters' defaults: they count by what becomes of them."""
        parameters = [
            {name: value for name, value in one.items() if name != "DefaultValue"}
            for one in self.definition.get("Parameters", [])
        ]
        return {**self.definition, "Parameters": parameters}

    @cached_property
    def digest(self) -> str:
        """The same for the same training: 64 hexadecimal digits."""
        return hashlib.sha256(_text([self.structure, self.parameters]).encode()).hexdigest()


@dataclass(frozen=True)
class Source:
    """What is compared: `data` is None where it is no version that can be read."""

    content: Content
    data: DataVersion | None


def changes(then: Source, now: Source) -> list[str]:
    """One sentence for each change; none if and only if the digests are the same."""
    if then.content.digest == now.content.digest:
        return []
    found = [*_data(then, now), *_steps(then.content, now.content), *_parameters(then, now)]
    return found or ["definition: changed, in none of its steps"]


def first(now: DataVersion) -> str:
    """The sentence for a training that nothing can be compared with."""
    sets = (f"{_amount(now.files(name))} to {name} with" for name in layout.SETS)
    return f"first training: {', '.join(sets)}"


def _data(then: Source, now: Source) -> Iterator[str]:
    if all(then.content.parameters.get(one) == now.content.parameters.get(one) for one in DATA):
        return
    found: list[str] = []
    if then.data is not None and now.data is not None:
        for name, subject in zip(layout.SETS, ("data", "test data"), strict=True):
            found += _files(subject, then.data.files(name), now.data.files(name))
    yield from found or _moved(then.content, now.content)


def _moved(then: Content, now: Content) -> Iterator[str]:
    """Data that cannot be compared, by where it lies."""
    for name, subject in zip(DATA, ("data", "test data"), strict=True):
        before, after = (str(one.parameters.get(name)) for one in (then, now))
        if before != after:
            yield f"{subject}: {' → '.join(_places(before, after))}"


def _places(*addresses: str) -> list[str]:
    """Data versions by their names, other addresses by as many of their last parts as differ."""
    parts = [" ".join(one.split()).rstrip("/").split("/") for one in addresses]
    length = 2
    while length < max(map(len, parts)) and len({tuple(one[-length:]) for one in parts}) == 1:
        length += 1
    found = [_VERSION.search(one) for one in addresses]
    if len({version and version[1] for version in found}) == 1:
        found = [None] * len(found)
    return [
        f"version {version[1]}" if version else _end("/".join(one[-length:]))
        for version, one in zip(found, parts, strict=True)
    ]


def _end(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"…{text[1 - LONGEST_VALUE :]}"


def _files(
    subject: str, then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Files are the same if their content is."""
    sums_then, sums_now = ([one["sha256"] for one in files] for files in (then, now))
    if sums_then == sums_now:
        return
    more, fewer = _without(now, sums_then), _without(then, sums_now)
    parts = [f"{_amount(more)} more"] * bool(more) + [f"{_amount(fewer)} fewer"] * bool(fewer)
    yield f"{subject}: {', '.join(parts) or 'the same files in another order'}"


def _without(files: Sequence[Mapping[str, Any]], sums: Sequence[str]) -> list[Mapping[str, Any]]:
    """The files that are not among those with these sums, each as often as it is there more."""
    left, rest = Counter(sums), []
    for file in files:
        if left[file["sha256"]]:
            left[file["sha256"]] -= 1
        else:
            rest.append(file)
    return rest


def _amount(files: Sequence[Mapping[str, Any]]) -> str:
    rows = sum(file["rows"] or 0 for file in files)
    unknown = sum(file["rows"] is None for file in files)
    aside = f" ({_number(unknown, 'file')} unreadable)" if unknown else ""
    return f"{_number(len(files), 'file')} and {_number(rows, 'row')}{aside}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _steps(then: Content, now: Content) -> Iterator[str]:
    before, after = _by_name(then.definition), _by_name(now.definition)
    for name in after:
        if name not in before:
            yield f"{name}: a new step"
        elif before[name] != after[name]:
            yield from _step(name, before[name], after[name])
    yield from (f"{name}: no longer a step" for name in before if name not in after)
    for part in sorted((then.definition.keys() | now.definition.keys()) - {"Steps", "Parameters"}):
        if then.definition.get(part) != now.definition.get(part):
            yield f"definition: {part} changed"


def _by_name(definition: Document) -> dict[str, Document]:
    """All steps, those in the branches of a condition too; a branch then holds names."""
    found = {}
    rest = list(definition.get("Steps", []))
    while rest:
        step = rest.pop(0)
        arguments = dict(step.get("Arguments", {}))
        for branch in BRANCHES:
            if branch in arguments:
                rest += arguments[branch]
                arguments[branch] = [one["Name"] for one in arguments[branch]]
        found[step["Name"]] = {**step, "Arguments": arguments}
    return found


def _step(name: str, before: Document, after: Document) -> Iterator[str]:
    """The step's images, then the names of its other arguments."""
    old, new = _images(before), _images(after)
    if old != new:
        yield f"{name}: image {_images_shown(old)} → {_images_shown(new)}"
    flat_before, flat_after = (
        {**step, **step["Arguments"], "Arguments": None}
        for step in (_neutral(before, old), _neutral(after, new))
    )
    changed = [
        key
        for key in dict.fromkeys([*flat_after, *flat_before])
        if flat_before.get(key) != flat_after.get(key)
    ]
    if changed:
        yield f"{name}: {', '.join(changed)} changed"


def _images(value: Any) -> list[str]:
    """The addresses of a step's images, each once."""
    found: dict[str, None] = {}
    if isinstance(value, dict):
        for key, one in value.items():
            named = [one] if key in IMAGES and isinstance(one, str) else _images(one)
            found |= dict.fromkeys(named)
    elif isinstance(value, list):
        for one in value:
            found |= dict.fromkeys(_images(one))
    return list(found)


def _images_shown(addresses: Sequence[str]) -> str:
    return ", ".join(_image_shown(address) for address in addresses) or "none"


def _image_shown(address: str) -> str:
    """Without its registry, and of a digest the first 12 digits."""
    name, at, digest = address.rpartition("/")[2].partition("@sha256:")
    return f"{name}{at}{digest[:12]}"


def _neutral(value: Any, images: Sequence[str]) -> Any:
    """Without the addresses of images and without their tags: the code's version, which stands in
    the environment too, is the image's."""
    if isinstance(value, dict):
        return {key: _neutral(one, images) for key, one in value.items()}
    if isinstance(value, list):
        return [_neutral(one, images) for one in value]
    if isinstance(value, str) and any(
        value in (image, image.rpartition(":")[2]) for image in images
    ):
        return "its image"
    return value


def _parameters(then: Source, now: Source) -> Iterator[str]:
    before, after = then.content.parameters, now.content.parameters
    types = [
        {one["Name"]: one for one in source.content.structure["Parameters"]}
        for source in (then, now)
    ]
    for name in dict.fromkeys([*after, *before]):
        if name in DATA:
            continue
        if name not in before:
            yield f"parameter {name}: new, {_shown(after[name])}"
        elif name not in after:
            yield f"parameter {name}: no longer there"
        elif before[name] != after[name]:
            yield f"parameter {name}: {_shown(before[name])} → {_shown(after[name])}"
        elif types[0][name] != types[1][name]:
            yield f"parameter {name}: takes other values"


def _value(kind: str, given: Any) -> Any:
    """A parameter's value as its type, so that 0.80 is 0.8."""
    try:
        if kind == "Float" and math.isfinite(float(given)):
            return float(given)
        return int(given) if kind == "Integer" else given
    except (TypeError, ValueError):
        return given


def _shown(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def _text(document: Any) -> str:
    return json.dumps(document, sort_keys=True)
