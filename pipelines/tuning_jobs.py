"""The tuning jobs of a deployment: started, followed, stopped. On AWS and locally alike."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pipelines import hyperparameters
from pipelines.aws import Aws
from pipelines.control import build_definition, check_file
from pipelines.errors import UserError
from pipelines.images import addresses
from pipelines.transfers import Progress, untold, upload
from pipelines.tuning import CARRIED, tuning_request

_ENDED = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True)
class Trial:
    """One training job of a tuning job."""

    name: str
    status: str
    hyperparameters: dict[str, str]  # those that were drawn
    value: float | None  # of the objective
    reason: str

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED


@dataclass(frozen=True)
class TuningStatus:
    """How far a tuning job is."""

    name: str
    status: str
    reason: str
    objective: str
    jobs: int  # that it trains at most
    fixed: dict[str, str]  # the hyperparameters that all trials share
    trials: list[Trial]  # in the order of their start
    best: Trial | None

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    @property
    def start_options(self) -> list[str]:
        """What the best trial says to a start of the pipeline, as `NAME=VALUE`."""
        drawn = self.best.hyperparameters if self.best else {}
        found = {**self.fixed, **drawn}
        options = [f"{CARRIED[name]}={found[name]}" for name in CARRIED if name in found]
        others: dict[str, object] = hyperparameters.read(self.fixed.get(hyperparameters.NAME, "{}"))
        others |= {name: value for name, value in drawn.items() if name not in CARRIED}
        if others:
            written = json.dumps(others, ensure_ascii=False)
            options.append(f"{hyperparameters.PARAMETER}={written}")
        return options


class Tuning:
    """The tuning jobs of one deployment."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._sagemaker = aws.client("sagemaker")
        self._s3 = aws.client("s3")

    def start(
        self,
        train: str,
        kind: str,
        objective: str,
        jobs: int,
        parallel: int,
        parameters: Mapping[str, str],
        progress: Progress = untold,
    ) -> str:
        """Starts a tuning job on a file or what lies at an S3 address; its name.

        Raises
        ------
        UserError
            There is no such data, or the pipeline does not take a parameter.
        """
        sources = self._sources(train)  # before what takes seconds
        images = addresses(self._aws.settings, self._aws.client("ecr"))
        definition = json.loads(build_definition(self._aws.settings, images))
        name = self._new_name()
        data = f"s3://{self._aws.settings.bucket('models')}/runs/{name}/training"
        request = tuning_request(
            definition,
            name=name,
            data=data,
            kind=kind,
            objective=objective,
            jobs=jobs,
            parallel=parallel,
            parameters=parameters,
        )
        self._bring(sources, data, progress)
        self._sagemaker.create_hyper_parameter_tuning_job(**request)
        return name

    def status(self, name: str) -> TuningStatus:
        """
        Raises
        ------
        UserError
            There is no such tuning job.
        """
        try:
            found = self._sagemaker.describe_hyper_parameter_tuning_job(
                HyperParameterTuningJobName=name
            )
        except self._sagemaker.exceptions.ResourceNotFound:
            raise UserError(f"There is no tuning job {name}") from None
        config = found["HyperParameterTuningJobConfig"]
        pages = self._sagemaker.get_paginator(
            "list_training_jobs_for_hyper_parameter_tuning_job"
        ).paginate(HyperParameterTuningJobName=name, SortBy="CreationTime", SortOrder="Ascending")
        best = found.get("BestTrainingJob")
        return TuningStatus(
            name=name,
            status=found["HyperParameterTuningJobStatus"],
            reason=found.get("FailureReason", ""),
            objective=config["HyperParameterTuningJobObjective"]["MetricName"],
            jobs=config["ResourceLimits"]["MaxNumberOfTrainingJobs"],
            fixed=found["TrainingJobDefinition"]["StaticHyperParameters"],
            trials=[_trial(one) for page in pages for one in page["TrainingJobSummaries"]],
            best=_trial(best) if best else None,
        )

    def follow(self, name: str) -> Iterator[TuningStatus]:
        """The status again and again, until it has ended, that status included."""
        pause = 1.0
        while True:
            status = self.status(name)
            yield status
            if status.has_ended:
                return
            time.sleep(pause)
            pause = min(pause * 1.1, 30.0)

    def stop(self, name: str) -> None:
        self._sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)

    def latest(self) -> str:
        """The name of the deployment's newest tuning job.

        Raises
        ------
        UserError
            There is none.
        """
        role = self._aws.settings.role_arn("training")
        pages = self._sagemaker.get_paginator("list_hyper_parameter_tuning_jobs").paginate(
            NameContains=self._beginning, SortBy="CreationTime", SortOrder="Descending"
        )
        for one in (one for page in pages for one in page["HyperParameterTuningJobSummaries"]):
            name: str = one["HyperParameterTuningJobName"]
            found = self._sagemaker.describe_hyper_parameter_tuning_job(
                HyperParameterTuningJobName=name
            )
            if found.get("TrainingJobDefinition", {}).get("RoleArn") == role:
                return name
        raise UserError("There is no tuning job yet; start one with `claimflow tune --train FILE`")

    @property
    def _beginning(self) -> str:
        """A name has 32 characters at most: what is cut off here, `latest` tells by the role."""
        return self._aws.settings.prefix[:16].rstrip("-")

    def _new_name(self) -> str:
        made_at = datetime.now(timezone.utc).strftime("%y%m%d%H%M%S")
        return f"{self._beginning}-{made_at}-{secrets.token_hex(1)}"

    def _sources(self, train: str) -> list[str]:
        """A file's path, or the addresses of the objects that lie at an S3 address."""
        if not train.startswith("s3://"):
            check_file(Path(train))
            return [train]
        bucket, _, prefix = train.removeprefix("s3://").partition("/")
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [one for page in pages for one in page.get("Contents", []) if one["Size"]]
        if not found:
            raise UserError(f"There is nothing at {train}")
        return [f"s3://{bucket}/{one['Key']}" for one in found]

    def _bring(self, sources: list[str], data: str, progress: Progress) -> None:
        """Puts the data where the role of the training may read it."""
        bucket, _, folder = data.removeprefix("s3://").partition("/")
        for number, source in enumerate(sources, 1):
            target = f"{folder}/{number:04}-{source.rpartition('/')[2]}"
            if source.startswith("s3://"):
                source_bucket, _, key = source.removeprefix("s3://").partition("/")
                self._s3.copy({"Bucket": source_bucket, "Key": key}, bucket, target)
            else:
                upload(self._s3, Path(source), bucket, target, progress)


def _trial(summary: dict[str, Any]) -> Trial:
    objective = summary.get("FinalHyperParameterTuningJobObjectiveMetric") or {}
    return Trial(
        summary["TrainingJobName"],
        summary["TrainingJobStatus"],
        summary["TunedHyperParameters"],
        objective.get("Value"),
        summary.get("FailureReason", ""),
    )
