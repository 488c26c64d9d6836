"""The job's settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from batch.objects import legible
from steps.errors import InputError

MAX_SHARDS = 10_000  # the size of a Batch array job, at most


@dataclass(frozen=True)
class JobSettings:
    """Each from the environment variable of the same name.

    Of `input_version` and `input_etag` one may be missing; with both missing, what lies there now
    is predicted. The prefixes end with a slash. Without a `text_column` it is the one that the
    model was trained on. `formulas` is `keep` or `neutralise`. An array job has more than one of
    `shards`; its children get their index from Batch and meet below `shards_prefix`.
    """

    input_bucket: str
    input_key: str
    model_package_arn: str
    results_bucket: str
    results_prefix: str
    upload_id: str = ""
    input_version: str = ""
    input_etag: str = ""
    text_column: str = ""
    formulas: str = "keep"
    shards: int = 1
    shards_prefix: str = ""
    claimflow_code_version: str = "unknown"
    aws_batch_job_id: str = ""
    aws_batch_job_array_index: int = 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> JobSettings:
        """Raises InputError with the names of all variables that are missing, or for a value that
        is none of those it can have."""
        names = [field.name for field in fields(cls)]
        given = {name: value for name in names if (value := environment.get(name.upper()))}
        missing = [name.upper() for name in names[:5] if name not in given]
        shards = _number(given.pop("shards", "1"), "SHARDS", 1, MAX_SHARDS)
        if shards > 1:
            needed = ("shards_prefix", "aws_batch_job_array_index")
            missing += [name.upper() for name in needed if name not in given]
        if missing:
            raise InputError(f"the job's environment lacks {', '.join(missing)}")
        index = given.pop("aws_batch_job_array_index", "0")
        neutralises(given.get("formulas", "keep"))
        return cls(
            **given,
            shards=shards,
            aws_batch_job_array_index=_number(index, "AWS_BATCH_JOB_ARRAY_INDEX", 0, shards - 1)
            if shards > 1
            else 0,
        )

    @property
    def neutralise(self) -> bool:
        return neutralises(self.formulas)

    @property
    def input_name(self) -> str:
        """The upload, for people: in one line, whatever its key holds."""
        return legible(f"s3://{self.input_bucket}/{self.input_key}")

    @property
    def job_id(self) -> str:
        """The Batch job; of a child, its array's."""
        return self.aws_batch_job_id.partition(":")[0]


def neutralises(formulas: str) -> bool:
    """Whether formulas are to be neutralised, by the setting's word."""
    if formulas not in ("keep", "neutralise"):
        raise InputError(f"FORMULAS is '{formulas}', expected keep or neutralise")
    return formulas == "neutralise"


def _number(text: str, name: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise InputError(f"{name} is '{text}', expected a number from {low} to {high}")
    return int(text)
