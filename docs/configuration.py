"""Writes `docs/configuration.md` from the settings themselves: `make docs`. And what pipelines know
of the hyperparameters, because they may not ask the steps.

What a field means is said once, where it is defined: in the string below it or the comment behind
it. A comment after an empty line begins a group of fields.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import json
import textwrap
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.deployment_settings import Deployment
from pipelines.settings import Settings
from steps import models
from steps.hyperparameters import Hyperparameters
from steps.validation_settings import CHECKS, ValidationSettings

DOCUMENT = Path(__file__).with_suffix(".md")
KNOWN = Path(__file__).parents[1] / "pipelines" / "hyperparameters.json"

# The pipeline's parameters are the SDK's objects, which hold no words.
PARAMETERS = {
    "TrainData": "address of the labelled claims to learn from: a file or a folder on S3",
    "TestData": "address of those to judge by",
    "TextColumn": "their column of texts",
    "LabelColumn": "their column of labels",
    "ModelKind": "kind of model",
    "Epochs": "hyperparameter `epochs`; 0: the kind's own",
    "LearningRate": "hyperparameter `learning_rate`; 0: the kind's own",
    "BatchSize": "hyperparameter `batch_size`; 0: by the number of rows",
    "Seed": "hyperparameter `seed`",
    "Hyperparameters": "all other hyperparameters, a JSON object from names to values",
    "TrainingInstanceType": "machine of Train",
    "TrainingInstanceCount": "how many of them learn together",
    "ProcessingInstanceType": "machine of Validate and Evaluate",
    "MinAccuracy": "bar of the gate",
    "MinMacroF1": "bar of the gate",
    "MinClassRecall": "bar of the gate",
    "MaxCalibrationError": "bar of the gate",
    "AllowedRegression": "bar of the gate",
    "CodeVersion": "set by the start: the commit",
    "Cause": "set by the start: what caused it",
    "DataManifest": "set by the start: address of the data version's manifest",
    "MlflowTrackingUri": "set by the start: where runs are tracked",
}


@dataclass(frozen=True)
class Field:
    """A field as its class has it: the group that it is the first of, and what it means."""

    name: str
    group: str
    meaning: str


def main() -> None:
    from pipelines.definition import definition  # the SageMaker SDK takes seconds
    from pipelines.images import addresses

    settings = Settings()
    DOCUMENT.write_text(document(json.loads(definition(settings, addresses(settings)))), "utf-8")
    KNOWN.write_text(known(), "utf-8")


def document(definition: Mapping[str, Any]) -> str:
    """The reference; the definition tells the parameters of the pipeline."""
    return "\n".join(
        [
            _INTRODUCTION,
            "## Settings\n",
            *_settings(Settings),
            "## `[deployment]`\n",
            f"{_first_line(Deployment)}\n",
            *_settings(Deployment),
            "## `[validation]`\n",
            _VALIDATION,
            *_table(("option", "default", "meaning"), _validation()),
            "The checks:\n",
            *_table(("check", "what is expected"), ((f"`{n}`", s) for n, s in CHECKS.items())),
            "## Parameters of the pipeline\n",
            _PARAMETERS,
            *_table(("parameter", "type", "default", "meaning"), _parameters(definition)),
            "## Hyperparameters\n",
            _HYPERPARAMETERS,
            *_hyperparameters(),
        ]
    )


def known() -> str:
    """What each kind's hyperparameters may be, as JSON: a line each."""
    kinds = []
    for kind in models.KINDS:
        lines = [
            f'  "{field.name}": {json.dumps({"type": str(field.type), **field.metadata})}'
            for field in dataclasses.fields(models.module(kind).HYPERPARAMETERS)
        ]
        kinds.append(f' "{kind}": {{\n{_COMMA.join(lines)}\n }}')
    return f"{{\n{_COMMA.join(kinds)}\n}}\n"


def fields_of(made: type) -> list[Field]:
    """The fields that a class itself defines, in their order, with the words of its source."""
    source = textwrap.dedent(inspect.getsource(made))
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    lines = source.splitlines()
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = []
    for place, node in enumerate(body.body):
        if not isinstance(node, ast.AnnAssign) or "ClassVar" in ast.unparse(node.annotation):
            continue
        assert isinstance(node.target, ast.Name) and node.end_lineno
        above = node.lineno - 1
        while lines[above - 1].strip().startswith("#"):
            above -= 1
        begins_group = not lines[above - 1].strip()
        group = " ".join(comments[line] for line in range(above + 1, node.lineno))
        after = body.body[place + 1] if place + 1 < len(body.body) else None
        behind = (comments.get(line, "") for line in range(node.lineno, node.end_lineno + 1))
        words = _string(after) or next(filter(None, behind), "")
        found.append(Field(node.target.id, group if begins_group else "", words))
    return found


def _string(node: ast.stmt | None) -> str:
    """The string that a statement is, in one line."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""


def _settings(made: type[Settings] | type[Deployment]) -> list[str]:
    schema = made.model_json_schema()["properties"]
    lines: list[str] = []
    rows: list[tuple[str, ...]] = []
    for field in fields_of(made):
        if field.name not in schema:
            continue
        if field.group:
            lines += _table(_SETTING, rows) if rows else []
            lines.append(f"{field.group}\n")
            rows = []
        default = made.model_fields[field.name].get_default()
        rows.append(
            (
                f"`{field.name}`",
                _expected(schema[field.name]),
                _default(default),
                _meaning(field.meaning),
            )
        )
    return lines + _table(_SETTING, rows)


def _expected(schema: Mapping[str, Any]) -> str:
    """What a value may be, by its JSON schema."""
    if "anyOf" in schema:
        return _expected(schema["anyOf"][0])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "pattern" in schema:
        return f"`{schema['pattern']}`"
    kind = schema.get("type", "object")
    if kind == "array":
        return f"list of {_expected(schema['items'])}"
    name = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
    words = name.get(kind, {"object": "table"}.get(kind, "text"))
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    if low is None:
        return words
    over = "above " if "exclusiveMinimum" in schema else ""
    if "maximum" in schema:
        return f"{words}, {over}{low:,} to {schema['maximum']:,}"
    return f"{words}, {over}{low:,} or more"


def _default(value: object) -> str:
    """A default as `claimflow.toml` would have it."""
    if value is None or str(value) in ("", "()", "{}", "PydanticUndefined"):
        return ""
    if isinstance(value, Deployment):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`"


def _validation() -> Iterable[tuple[str, ...]]:
    for field in dataclasses.fields(ValidationSettings):
        if field.name not in ("text_column", "label_column"):  # settings and parameters have them
            yield f"`{field.name}`", _default(field.default), str(field.metadata["help"])


def _parameters(definition: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    for one in definition["Parameters"]:
        default = one["DefaultValue"]
        if isinstance(default, str) and default.startswith("s3://"):
            default = ""
        yield f"`{one['Name']}`", one["Type"], _default(default), PARAMETERS[one["Name"]]


def _hyperparameters() -> Iterable[str]:
    yield "Every kind has these:\n"
    yield from _table(_OF_KIND, _of_class(Hyperparameters, dataclasses.fields(Hyperparameters)))
    common = {field.name: field.default for field in dataclasses.fields(Hyperparameters)}
    for kind in models.KINDS:
        made: type[Hyperparameters] = models.module(kind).HYPERPARAMETERS
        own = [
            field
            for field in dataclasses.fields(made)
            if field.name not in common or field.default != common[field.name]
        ]
        yield f"### `{kind}`\n"
        yield (
            f"{(inspect.getdoc(inspect.getmodule(made)) or '').splitlines()[0]} Learning rate "
            f"{made.OWN_LEARNING_RATE:g}, up to {made.OWN_EPOCHS} epochs, batches of up to "
            f"{made.LARGEST_BATCH} rows.\n"
        )
        yield from _table(_OF_KIND, _of_class(made, own))


def _of_class(
    made: type[Hyperparameters], chosen: Iterable[dataclasses.Field[Any]]
) -> Iterable[tuple[str, ...]]:
    described: dict[str, str] = {}
    for parent in reversed(made.__mro__[:-1]):
        described |= {field.name: field.meaning for field in fields_of(parent) if field.meaning}
    for field in chosen:
        yield (
            f"`{field.name}`",
            _bounds(field),
            _default(field.default),
            _meaning(described[field.name]),
        )


def _bounds(field: dataclasses.Field[Any]) -> str:
    if choices := models.KINDS if field.name == "kind" else field.metadata.get("choices"):
        return ", ".join(f"`{one}`" for one in choices)
    if words := field.metadata.get("words"):
        return f"{', '.join(f'`{one}`' for one in words)}, or weights as a JSON object"
    if "low" in field.metadata:
        low, high = field.metadata["low"], field.metadata["high"]
        return f"{low:,g} to {high:,g}" if isinstance(high, float) else f"{low:,} to {high:,}"
    return {"bool": "`true`, `false`"}.get(str(field.type), "text")


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = [header, ("---",) * len(header), *rows]
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in cells]
    return [*(line.replace("  |", " |") for line in lines), ""]


def _first_line(made: type) -> str:
    return (inspect.getdoc(made) or "").splitlines()[0]


def _meaning(words: str) -> str:
    """Within a table: no capital at the beginning, no full stop at the end."""
    words = words.removesuffix(".")
    is_name = words[1:2].isupper()
    return words if is_name else words[:1].lower() + words[1:]


_COMMA = ",\n"
_SETTING = ("setting", "what it may be", "default", "meaning")
_OF_KIND = ("hyperparameter", "what it may be", "default", "meaning")
_INTRODUCTION = """\
# Configuration

<!-- Written by docs/configuration.py (`make docs`): change the words where they are defined. -->

A setting comes from the environment (`CLAIMFLOW_MIN_ACCURACY=0.9`), else from the table of the
stage in `claimflow.toml`, else from the top of that file, else from the defaults below.
`claimflow.toml` lies in the folder that the commands are called in:

```toml
project = "claims"
min_accuracy = 0.85

[validation]
max_overlap = 0.02

[deployment]
log_days = 365

[stages.prod]
account = "111122223333"

[stages.prod.deployment]
notice_email = "claims-team@example.com"
```

In the environment a setting of a table is named with two underlines:
`CLAIMFLOW_DEPLOYMENT__LOG_DAYS=30`. A name that is no setting, or a value that does not fit, is
refused with one line. What is changed here takes effect with `claimflow pipeline upsert`;
`[deployment]` takes effect with `claimflow deploy`.
"""
_VALIDATION = """\
What labelled data must be like. A check that is not met stops the run before training; those named
in `warn_only` only warn. Shares are between 0 and 1, lengths are in characters.
"""
_PARAMETERS = """\
What one run may have otherwise: `claimflow pipeline start -p NAME=VALUE`, `claimflow retrain -p
NAME=VALUE`. The defaults of most are settings.
"""
_HYPERPARAMETERS = """\
What a training is told. `claimflow train` takes each with `-p NAME=VALUE`; the pipeline has
parameters for the most important, and `Hyperparameters` for all others:
`claimflow pipeline start -p 'Hyperparameters={"class_weights": "balanced", "patience": 2}'`.
`ModelKind` (`--kind` of `claimflow train`) chooses the kind. The settings `model_kind` and
`[hyperparameters]` in `claimflow.toml` are what all starts have that say nothing else.
"""

if __name__ == "__main__":
    main()
