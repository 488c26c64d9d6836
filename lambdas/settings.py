"""What the environment of each function says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from lambdas import layout

MIB = 1024 * 1024
LARGEST_ARRAY = 10_000  # children of an array job, Batch's limit


class SettingsError(Exception):
    """The function's environment lacks variables, or one has a value that does not fit."""


@dataclass(frozen=True)
class ChampionSettings:
    """The settings of `lambdas.champion`.

    Attributes
    ----------
    models_bucket: holds the ceiling.
    """

    models_bucket: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ChampionSettings:
        """Raises SettingsError with the names of all variables that are missing."""
        given = _Environment(environment, "MODELS_BUCKET")
        return cls(models_bucket=given.text("MODELS_BUCKET"))


@dataclass(frozen=True)
class SubmitSettings:
    """The settings of `lambdas.submit`, each from the environment variable of the same name.

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
    max_receives: int
    shard_bytes: int = 64 * MIB
    max_shards: int = 100
    text_column: str = ""
    formulas: str = ""
    incoming_prefix: str = layout.INCOMING
    incoming_suffixes: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> SubmitSettings:
        """Raises SettingsError with the names of all variables that are missing."""
        given = _Environment(
            environment,
            "MODEL_PACKAGE_GROUP",
            "MODELS_BUCKET",
            "UPLOAD_BUCKET",
            "RESULTS_BUCKET",
            "JOB_QUEUE",
            "JOB_DEFINITION",
            "DEAD_LETTER_QUEUE_URL",
            "MAX_RECEIVES",
        )
        return cls(
            model_package_group=given.text("MODEL_PACKAGE_GROUP"),
            models_bucket=given.text("MODELS_BUCKET"),
            upload_bucket=given.text("UPLOAD_BUCKET"),
            results_bucket=given.text("RESULTS_BUCKET"),
            job_queue=given.text("JOB_QUEUE"),
            job_definition=given.text("JOB_DEFINITION"),
            dead_letter_queue_url=given.text("DEAD_LETTER_QUEUE_URL"),
            max_receives=given.number("MAX_RECEIVES", 1, 1000),
            shard_bytes=given.number("SHARD_BYTES", 1, 2**60, cls.shard_bytes),
            max_shards=given.number("MAX_SHARDS", 1, LARGEST_ARRAY, cls.max_shards),
            text_column=given.text("TEXT_COLUMN"),
            formulas=given.text("FORMULAS"),
            incoming_prefix=given.text("INCOMING_PREFIX", cls.incoming_prefix),
            incoming_suffixes=given.words("INCOMING_SUFFIXES"),
        )


@dataclass(frozen=True)
class NotifySettings:
    """The settings of `lambdas.notify`, each from the environment variable of the same name.

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
    max_receives: int
    deployment: str
    endpoint: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> NotifySettings:
        """Raises SettingsError with the names of all variables that are missing."""
        given = _Environment(
            environment,
            "TOPIC_ARN",
            "RESULTS_BUCKET",
            "JOB_QUEUE",
            "DEAD_LETTER_QUEUE_URL",
            "MAX_RECEIVES",
            "DEPLOYMENT",
        )
        return cls(
            topic_arn=given.text("TOPIC_ARN"),
            results_bucket=given.text("RESULTS_BUCKET"),
            job_queue=given.text("JOB_QUEUE"),
            dead_letter_queue_url=given.text("DEAD_LETTER_QUEUE_URL"),
            max_receives=given.number("MAX_RECEIVES", 1, 1000),
            deployment=given.text("DEPLOYMENT"),
            endpoint=given.text("AWS_ENDPOINT_URL"),
        )


@dataclass(frozen=True)
class SweepSettings:
    """The settings of `lambdas.sweep`, each from the environment variable of the same name.

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
    minimum_age_seconds: int
    deployment: str
    incoming_prefix: str = layout.INCOMING
    incoming_suffixes: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> SweepSettings:
        """Raises SettingsError with the names of all variables that are missing."""
        given = _Environment(
            environment,
            "MODEL_PACKAGE_GROUP",
            "MODELS_BUCKET",
            "UPLOAD_BUCKET",
            "RESULTS_BUCKET",
            "UPLOAD_QUEUE_URL",
            "MINIMUM_AGE_SECONDS",
            "DEPLOYMENT",
        )
        return cls(
            model_package_group=given.text("MODEL_PACKAGE_GROUP"),
            models_bucket=given.text("MODELS_BUCKET"),
            upload_bucket=given.text("UPLOAD_BUCKET"),
            results_bucket=given.text("RESULTS_BUCKET"),
            upload_queue_url=given.text("UPLOAD_QUEUE_URL"),
            minimum_age_seconds=given.number("MINIMUM_AGE_SECONDS", 0, 2**31),
            deployment=given.text("DEPLOYMENT"),
            incoming_prefix=given.text("INCOMING_PREFIX", cls.incoming_prefix),
            incoming_suffixes=given.words("INCOMING_SUFFIXES"),
        )


class _Environment:
    """Reads variables; one that is empty counts as missing: a template cannot leave one out."""

    def __init__(self, variables: Mapping[str, str], *required: str) -> None:
        missing = [name for name in required if not variables.get(name)]
        if missing:
            raise SettingsError(f"the function's environment lacks {', '.join(missing)}")
        self._variables = variables

    def text(self, name: str, default: str = "") -> str:
        return self._variables.get(name) or default

    def number(self, name: str, low: int, high: int, default: int | None = None) -> int:
        given = self._variables.get(name) or str(default)
        try:
            number = int(given)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise SettingsError(f"{name} is {given!r}: expected a whole number {low} to {high}")
        return number

    def words(self, name: str) -> tuple[str, ...]:
        words = self._variables.get(name, "").split(",")
        return tuple(word.strip() for word in words if word.strip())
