"""What the environment of each function says: a field for each variable."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar, get_type_hints

from lambdas import layout

MIB = 1024 * 1024
LARGEST_ARRAY = 10_000  # children of an array job, Batch's limit
RECEIVES = {"low": 1, "high": 1000}

Kind = TypeVar("Kind", bound="Settings")


class SettingsError(Exception):
    """The function's environment lacks variables, or one has a value that does not fit."""


@dataclass(frozen=True)
class Settings:
    """Settings, each from the environment variable of the same name in capital letters.

    A field without a default is required. Its metadata may hold the bounds `low` and `high` of a
    number, and the `variable` where that has another name. Texts in a tuple are separated by
    commas.
    """

    @classmethod
    def from_environment(cls: type[Kind], environment: Mapping[str, str] = os.environ) -> Kind:
        """Reads the variables; one that is empty counts as missing: a template cannot leave one
        out.

        Raises
        ------
        SettingsError: with the names of all variables that are missing, or the one that does not
            fit.
        """
        variables = {_variable(one): one for one in fields(cls)}
        given = {name: environment.get(name) for name in variables}
        missing = [
            name for name, one in variables.items() if one.default is MISSING and not given[name]
        ]
        if missing:
            raise SettingsError(f"the function's environment lacks {', '.join(missing)}")
        types = get_type_hints(cls)
        return cls(
            **{
                one.name: _parsed(name, text, types[one.name], one.metadata)
                for name, one in variables.items()
                if (text := given[name])
            }
        )


@dataclass(frozen=True)
class ChampionSettings(Settings):
    """The settings of `lambdas.champion`.

    Attributes
    ----------
    models_bucket: holds the ceiling.
    """

    models_bucket: str


@dataclass(frozen=True)
class SubmitSettings(Settings):
    """The settings of `lambdas.submit`.

    Attributes
    ----------
    model_package_group: the group whose newest approved model predicts.
    models_bucket: holds the ceiling.
    upload_bucket: the only bucket whose uploads are ours.
    results_bucket: where markers, records and results lie.
    job_queue, job_definition: Batch's, by name or ARN.
    dead_letter_queue_url, max_receives: where a message goes that fails so many times.
    shard_bytes: a larger upload becomes an array job with one child for each that many bytes.
    max_shards: children that an array job has at most.
    text_column: the column (or member) of the input that holds the text; empty for the one that
        the model was trained on.
    formulas: `keep` or `neutralise`, for the job; empty for the job's default.
    incoming_prefix: uploads lie below it.
    incoming_suffixes: comma-separated; empty takes every name, so that a file of a wrong kind gets
        a failed manifest with the reason rather than silence.
    """

    model_package_group: str
    models_bucket: str
    upload_bucket: str
    results_bucket: str
    job_queue: str
    job_definition: str
    dead_letter_queue_url: str
    max_receives: int = field(metadata=RECEIVES)
    shard_bytes: int = field(default=64 * MIB, metadata={"low": 1, "high": 2**60})
    max_shards: int = field(default=100, metadata={"low": 1, "high": LARGEST_ARRAY})
    text_column: str = ""
    formulas: str = ""
    incoming_prefix: str = layout.INCOMING
    incoming_suffixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotifySettings(Settings):
    """The settings of `lambdas.notify`.

    Attributes
    ----------
    topic_arn: the SNS topic; its ARN also tells region and partition of the links.
    results_bucket: the only bucket whose manifests are ours.
    job_queue: Batch's queue, by name or ARN, whose failed jobs are ours.
    dead_letter_queue_url, max_receives: where a message goes that fails so many times.
    deployment: the metrics' dimension.
    endpoint: of an AWS API that is not AWS's own and so has no console to link to; else empty.
    """

    topic_arn: str
    results_bucket: str
    job_queue: str
    dead_letter_queue_url: str
    max_receives: int = field(metadata=RECEIVES)
    deployment: str
    endpoint: str = field(default="", metadata={"variable": "AWS_ENDPOINT_URL"})


@dataclass(frozen=True)
class SweepSettings(Settings):
    """The settings of `lambdas.sweep`.

    Attributes
    ----------
    model_package_group, models_bucket: which model is approved.
    upload_bucket, incoming_prefix, incoming_suffixes: as `SubmitSettings` has them.
    results_bucket: where markers and records lie.
    upload_queue_url: the queue of `lambdas.submit`.
    minimum_age_seconds: younger uploads are left to the event that is on its way.
    deployment: the metrics' dimension.
    """

    model_package_group: str
    models_bucket: str
    upload_bucket: str
    results_bucket: str
    upload_queue_url: str
    minimum_age_seconds: int = field(metadata={"low": 0, "high": 2**31})
    deployment: str
    incoming_prefix: str = layout.INCOMING
    incoming_suffixes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RetrainSettings(Settings):
    """The settings of `lambdas.retrain`.

    Attributes
    ----------
    pipeline_name: the pipeline that it starts.
    data_bucket: holds the labelled claims and the data versions.
    quiet_seconds: for so long nothing must have been added before it starts on an upload; the queue
        delays each message by as much.
    topic_arn: the SNS topic, for what people have to do.
    dead_letter_queue_url, max_receives: where a message goes that fails so many times.
    """

    pipeline_name: str
    data_bucket: str
    quiet_seconds: int = field(metadata={"low": 0, "high": 900})  # SQS delays no longer
    topic_arn: str
    dead_letter_queue_url: str
    max_receives: int = field(metadata=RECEIVES)


@dataclass(frozen=True)
class ApproveSettings(Settings):
    """The settings of `lambdas.approve`.

    Attributes
    ----------
    model_package_group: the only group whose versions are ours.
    models_bucket: holds the evaluations and the decisions.
    dead_letter_queue_url, max_receives: where a message goes that fails so many times.
    approve_accuracy: a version with at least so much may be approved; None leaves all to people.
    approve_regression: what it may have lost against the champion, at the far end of the interval.
    """

    model_package_group: str
    models_bucket: str
    dead_letter_queue_url: str
    max_receives: int = field(metadata=RECEIVES)
    approve_accuracy: float | None = field(default=None, metadata={"low": 0, "high": 1})
    approve_regression: float = field(default=0.0, metadata={"low": -1, "high": 1})


def _variable(one: Field[Any]) -> str:
    return str(one.metadata.get("variable", one.name.upper()))


def _parsed(name: str, text: str, kind: Any, bounds: Mapping[str, Any]) -> Any:
    if kind is str:
        return text
    if kind == tuple[str, ...]:
        return tuple(word.strip() for word in text.split(",") if word.strip())
    read, what = (int, "a whole number") if kind is int else (float, "a number")
    try:
        number = read(text)
    except ValueError:
        number = math.nan
    if not bounds["low"] <= number <= bounds["high"]:
        raise SettingsError(
            f"{name} is {text!r}: expected {what} {bounds['low']} to {bounds['high']}"
        )
    return number
