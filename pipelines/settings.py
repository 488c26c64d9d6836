"""The settings of one deployment: typed, frozen, read once, and the names that follow from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipelines import hyperparameters, instance_types
from pipelines.deployment_settings import Deployment
from pipelines.errors import UserError
from pipelines.settings_file import SETTINGS_FILE, SettingsFile, nearest

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

DEFAULT_REGION = "us-east-1"
LOCAL_ACCOUNT = "123456789012"
LONGEST_BUCKET = 63  # characters in the name of an S3 bucket

Bucket = Literal["data", "models", "predictions", "results"]
Role = Literal[
    "pipeline",
    "training",
    "processing",
    "champion",
    "submit",
    "notify",
    "sweep",
    "retrain",
    "approve",
    "predict",  # the prediction job
    "execution",  # what starts its container: pulls the image, writes the log
    "ci",
]
Function = Literal["champion", "submit", "notify", "sweep", "retrain", "approve"]

EngineName = Literal["process", "docker"]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,15}$")]
InstanceType = Annotated[str, AfterValidator(instance_types.checked)]
ModelKind = Annotated[str, AfterValidator(hyperparameters.checked_kind)]
Share = Annotated[float, Field(ge=0, le=1)]
Prefix = Annotated[str, Field(pattern=r"^s3://[a-z0-9.-]+/\S+$")]


class Settings(BaseSettings):
    """From `CLAIMFLOW_*` in the environment, then `claimflow.toml` (the table of the stage before
    what stands at the top), then the defaults here."""

    model_config = SettingsConfigDict(
        env_prefix="CLAIMFLOW_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    # Where it runs.
    project: Name = "claimflow"
    """The first part of all names."""
    stage: Name = "dev"
    """The second part of all names; chooses the table `[stages.…]`."""
    account: Annotated[str, Field(pattern=r"^\d{12}$")] | None = None
    """The AWS account; credentials of another are refused. None: whichever the credentials are
    of."""
    region: str = Field(default_factory=lambda: _region())
    """The AWS region. By default that of `AWS_REGION`, `AWS_DEFAULT_REGION` or the AWS profile, or
    else us-east-1."""

    # What the data looks like.
    text_column: str = "text"
    """The column of the claims' texts."""
    label_column: str = "label"
    """The column of their labels."""
    validation: dict[str, str | int | float] = Field(default_factory=dict)
    """The options of the step Validate, see below; a table of its own: `[validation]`."""

    # What a run may cost.
    processing_instance_type: InstanceType = "ml.m5.large"
    """The machine of Validate and Evaluate."""
    training_instance_type: InstanceType = "ml.c5.2xlarge"
    """The machine of Train."""
    training_volume_gb: Annotated[int, Field(ge=1, le=16384)] = 30
    """Its disk."""
    max_training_minutes: Annotated[int, Field(ge=1, le=7200)] = 120
    """After so long Train is stopped."""
    max_processing_minutes: Annotated[int, Field(ge=1, le=7200)] = 60
    """After so long Validate or Evaluate is stopped."""
    # Pipeline parameters carry values, not logic: spot or not is part of the definition.
    use_spot: bool = True
    """Whether Train runs on spot instances."""
    cache_days: Annotated[int, Field(ge=0, le=365)] = 30
    """How long a step is not run again for the same input; 0: always run."""

    # What a run trains: the defaults of the pipeline's parameters.
    model_kind: ModelKind = "ngram"
    """The kind of model."""
    hyperparameters: dict[str, str | bool | int | float | dict[str, float]] = Field(
        default_factory=dict
    )
    """What stands below of that kind, and is to be otherwise; a table of its own:
    `[hyperparameters]`."""

    # What a training is given besides the data, as prefixes of S3 that its role may read.
    vectors_uri: Prefix | None = None
    """Word vectors for the kind `textcnn`, below `vectors/` of the data bucket."""
    pretrained_uri: Prefix | None = None
    """Weights and vocabulary for the kind `bert`, below `pretrained/` of the data bucket."""

    # What a model must reach to be registered: the defaults of the pipeline's bars.
    min_accuracy: Share = 0.8
    """Share of test rows with the right label."""
    min_macro_f1: Share = 0.0
    """F1, every class counting alike."""
    min_class_recall: Share = 0.0
    """The recall of the class that is found least."""
    max_calibration_error: Share = 1.0
    """How far confidence and accuracy are apart."""
    allowed_regression: Share = 0.005
    """The accuracy that may be lost against the champion, beyond chance."""

    # What it must reach to be approved without a person.
    automatic_approval_accuracy: Share | None = None
    """Turns automatic approval on; at least `min_accuracy`."""
    automatic_approval_regression: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """How much worse than the champion such a model may be, noise included."""

    # Tracking.
    mlflow_tracking_uri: str = "none"
    """An http(s) address, the ARN of a SageMaker tracking server, or `none`."""

    # The stacks on AWS.
    deployment: Deployment = Deployment()
    """See below; a table of its own: `[deployment]`."""

    # The local cloud.
    state: Path = Path(".claimflow")
    """The folder that the local cloud keeps everything in."""
    engine: EngineName = "process"
    """What runs the local cloud's jobs: `process`, processes of this machine, or `docker`, the real
    images in containers (Docker or podman)."""

    @model_validator(mode="after")
    def _names_fit(self) -> Settings:
        longest = self.bucket("predictions")
        if len(longest) > LONGEST_BUCKET:
            raise ValueError(
                f"project and stage are too long: the bucket {longest} would have "
                f"{len(longest)} characters, S3 allows {LONGEST_BUCKET}"
            )
        return self

    @model_validator(mode="after")
    def _bars_fit(self) -> Settings:
        alone = self.automatic_approval_accuracy
        if alone is not None and alone < self.min_accuracy:
            raise ValueError(
                f"automatic_approval_accuracy is {alone}, expected at least min_accuracy "
                f"({self.min_accuracy}): what no person looks at has to reach more, not less"
            )
        return self

    @model_validator(mode="after")
    def _hyperparameters_fit(self) -> Settings:
        hyperparameters.check_setting(self.hyperparameters, self.model_kind)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic names them
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SettingsFile(settings_cls)

    @classmethod
    def load(cls, **given: object) -> Settings:
        """Reads the settings; what is given here (but None) wins, as `stage` does with `--stage`.

        Raises
        ------
        UserError
            A value that does not fit, or a name in `claimflow.toml` that is no setting: one line.
        """
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        except ValidationError as error:
            raise UserError(_sentence(error)) from None
        except ValueError as error:  # an environment variable that holds no value of its type
            raise UserError(f"the settings cannot be read: {error}") from None

    def with_account(self, account: str) -> Settings:
        """The same settings for a known account."""
        return self.model_copy(update={"account": account})

    # The names that follow. Everything else asks here, so that they are the same everywhere.

    @property
    def prefix(self) -> str:
        return f"{self.project}-{self.stage}"

    @property
    def pipeline_name(self) -> str:
        return self.prefix

    @property
    def model_package_group(self) -> str:
        return self.prefix

    def bucket(self, purpose: Bucket) -> str:
        return f"{self.prefix}-{purpose}-{self.known_account}-{self.region}"

    def role_arn(self, purpose: Role) -> str:
        return f"arn:aws:iam::{self.known_account}:role/{self.prefix}-{purpose}"

    def function_name(self, purpose: Function) -> str:
        return f"{self.prefix}-{purpose}"

    def function_arn(self, purpose: Function) -> str:
        name = self.function_name(purpose)
        return f"arn:aws:lambda:{self.region}:{self.known_account}:function:{name}"

    def image_repository(self, target: str) -> str:
        return f"{self.known_account}.dkr.ecr.{self.region}.amazonaws.com/{self.project}/{target}"

    @property
    def upload_queue(self) -> str:
        return f"{self.prefix}-uploads"

    @property
    def notice_queue(self) -> str:
        return f"{self.prefix}-notices"

    @property
    def labelled_queue(self) -> str:
        """What may start a retraining: new labelled data, drift."""
        return f"{self.prefix}-labelled"

    @property
    def registered_queue(self) -> str:
        """Models that were registered and wait for approval."""
        return f"{self.prefix}-registered"

    @property
    def dead_letter_queue(self) -> str:
        return f"{self.prefix}-dead"

    @property
    def notice_topic_arn(self) -> str:
        return f"arn:aws:sns:{self.region}:{self.known_account}:{self.prefix}-notices"

    @property
    def job_queue(self) -> str:
        return f"{self.prefix}-predict"

    @property
    def job_definition(self) -> str:
        return f"{self.prefix}-predict"

    @property
    def key_arn(self) -> str:
        """The key that everything is encrypted with, by its alias."""
        return f"arn:aws:kms:{self.region}:{self.known_account}:alias/{self.prefix}"

    @property
    def engine_asked_for(self) -> EngineName | None:
        """The engine of the local cloud, if somebody named one; None: any will do."""
        return self.engine if "engine" in self.model_fields_set else None

    @property
    def needs_network(self) -> bool:
        """Whether the steps' containers call anything: without tracking they only see files."""
        return self.mlflow_tracking_uri != "none"

    @property
    def tags(self) -> dict[str, str]:
        return {"project": self.project, "stage": self.stage}

    @property
    def known_account(self) -> str:
        """The account, or that of the local cloud where none is known."""
        return self.account or LOCAL_ACCOUNT


def _sentence(error: ValidationError) -> str:
    """The first fault, in one line."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    name = ".".join(path)
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        model = Deployment if path[:-1] == ["deployment"] else Settings
        return (
            f"{SETTINGS_FILE}: there is no setting {name}; {nearest(path[-1], model.model_fields)}"
        )
    if first["type"] == "value_error" and path in ([], ["deployment"]):  # of several together
        return f"{SETTINGS_FILE}: {message}"
    variable = f"CLAIMFLOW_{'__'.join(path).upper()}"
    return f"setting {name} ({SETTINGS_FILE} or {variable}): got {first['input']!r}; {message}"


def _region() -> str:
    """As boto3 finds it: the environment, then the profile."""
    given = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    config = Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser()
    if given or not config.exists():
        return given or DEFAULT_REGION
    import botocore.session

    return botocore.session.Session().get_config_variable("region") or DEFAULT_REGION
