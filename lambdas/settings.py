"""What the function's environment says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from lambdas import layout

REQUIRED = (
    "MODEL_PACKAGE_GROUP",
    "UPLOAD_BUCKET",
    "RESULTS_BUCKET",
    "JOB_QUEUE",
    "JOB_DEFINITION",
)


@dataclass(frozen=True)
class LambdaSettings:
    """The settings of `lambdas.submit`, each from the environment variable of the same name.

    Attributes
    ----------
    model_package_group: the group whose newest approved model predicts.
    upload_bucket: the only bucket whose uploads are ours.
    results_bucket: where markers, records and results lie.
    job_queue, job_definition: Batch's, by name or ARN.
    text_column: the column (or member) of the input that holds the text; empty for the one that
        the model was trained on.
    incoming_prefix: uploads lie below it.
    incoming_suffixes: comma-separated; empty takes every name, so that a file of a wrong kind gets
        a failed manifest with the reason rather than silence.
    """

    model_package_group: str
    upload_bucket: str
    results_bucket: str
    job_queue: str
    job_definition: str
    text_column: str = ""
    incoming_prefix: str = layout.INCOMING
    incoming_suffixes: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> LambdaSettings:
        """Raises KeyError with the names of all variables that are missing."""
        missing = [name for name in REQUIRED if not environment.get(name)]
        if missing:
            raise KeyError(f"the function's environment lacks {', '.join(missing)}")
        suffixes = environment.get("INCOMING_SUFFIXES", "").split(",")
        return cls(
            model_package_group=environment["MODEL_PACKAGE_GROUP"],
            upload_bucket=environment["UPLOAD_BUCKET"],
            results_bucket=environment["RESULTS_BUCKET"],
            job_queue=environment["JOB_QUEUE"],
            job_definition=environment["JOB_DEFINITION"],
            text_column=environment.get("TEXT_COLUMN", ""),
            incoming_prefix=environment.get("INCOMING_PREFIX", layout.INCOMING),
            incoming_suffixes=tuple(suffix.strip() for suffix in suffixes if suffix.strip()),
        )
