"""The settings of the stacks on AWS, which nothing else needs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from pipelines import schedule_expressions

Days = Annotated[int, Field(ge=1, le=3650)]
LogDays = Annotated[
    Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 3653],
    BeforeValidator(lambda days: int(days) if str(days).isdecimal() else days),
]
Schedule = Annotated[str, AfterValidator(schedule_expressions.checked)]
RoleArn = Annotated[str, Field(pattern=r"^arn:[a-z-]+:iam::\d{12}:role/.+$")]


class Deployment(BaseModel):
    """What only the stacks need: `[deployment]` in `claimflow.toml`.

    Each is a parameter of the templates (`log_days` is `LogDays`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The network of the prediction jobs: the account's own, or (without) a small one that is made,
    # with endpoints and no way to the internet.
    vpc_id: Annotated[str, Field(pattern=r"^vpc-[0-9a-f]+$")] | None = None
    """The account's own network; needs `subnet_ids`."""
    subnet_ids: tuple[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]+$")], ...] = ()
    """The subnets of `vpc_id` that jobs run in."""
    endpoint_zones: Literal["1", "2"] = "1"
    """Availability zones that the endpoints of the network that is made stand in."""

    # Who hears of predictions and faults.
    notice_email: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    """Gets a mail for each file that was predicted, and for each alarm."""
    waiting_seconds: Annotated[int, Field(ge=900)] = 86_400
    """An upload that waits longer for a model to be approved raises an alarm."""

    # What starts a retraining, besides people and CI.
    retrain_schedule: Schedule | None = None
    """`rate(7 days)` or `cron(0 6 ? * MON *)`, in UTC."""
    retrain_on_data: bool = True
    """Whether new files below `labelled/` start one."""
    quiet_seconds: Annotated[int, Field(ge=0, le=900)] = 300  # SQS delays no message longer
    """How long nothing more must have come before new files start one."""
    drift_bar: Annotated[float, Field(gt=0, le=1)] = 0.25
    """The share of a file's predictions that would have to change their label to be spread as the
    training data's are: more raises the alarm of drift."""

    # The prediction of large files and of files for spreadsheets.
    formulas: Literal["keep", "neutralise"] = "keep"
    """What becomes of cells of an upload that a spreadsheet would take for a formula."""
    shard_bytes: Annotated[int, Field(ge=2**20)] = 64 * 2**20
    """An upload larger than this is shared by an array of jobs."""
    max_shards: Annotated[int, Field(ge=2, le=10_000)] = 100
    """Jobs of such an array, at most."""

    # How long is kept what is kept, in days.
    log_days: LogDays = 90
    """Logs of jobs and functions."""
    upload_days: Days = 90
    """What people have put below `incoming/`."""
    result_days: Days = 365
    """Predictions and the records of uploads; more than `upload_days` and `old_version_days`
    together."""
    old_version_days: Days = 30
    """What was overwritten or removed, in all buckets."""
    access_log_days: Days = 400
    """Who has read and written what in the buckets."""

    # The machines of the prediction jobs.
    max_vcpus: Annotated[int, Field(ge=2, le=10_000)] = 32
    """Virtual CPUs that run at the same time, at most."""
    use_gpu: bool = False
    """Whether they have GPUs; needs `gpu_image`."""
    gpu_image: str | None = None
    """Address of an image that predicts on a GPU."""

    # What one stage of an account makes for all.
    create_repositories: bool = True
    """The image repositories: they belong to the project."""
    create_identity_provider: bool = True
    """The identity provider for GitHub: an account has one."""

    # A SageMaker MLflow tracking server.
    use_mlflow_server: bool = False
    """Makes one; it costs money by the hour, used or not."""

    # CI.
    github_repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    """The repository, as owner/name, whose CI may push images and start the pipeline."""
    github_branch: Annotated[str, Field(pattern=r"^[\w./-]+$")] = "main"
    """The only branch that may."""
    github_environment: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = None
    """An environment of GitHub that may, in place of the branch."""
    deploy_role_arn: RoleArn | None = None
    """A role for CloudFormation that the account's administrators made; with it CI may deploy."""

    @model_validator(mode="after")
    def _fits_together(self) -> Deployment:
        if bool(self.vpc_id) != bool(self.subnet_ids):
            raise ValueError("vpc_id and subnet_ids belong together: give both, or neither")
        if self.result_days <= self.upload_days + self.old_version_days:
            raise ValueError(
                f"result_days is {self.result_days}, expected more than upload_days and "
                f"old_version_days together ({self.upload_days + self.old_version_days}): an "
                "upload whose record is gone would be predicted again"
            )
        if self.use_gpu and not self.gpu_image:
            raise ValueError("use_gpu needs gpu_image, the address of an image for a GPU")
        return self
