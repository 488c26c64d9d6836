"""The settings of one deployment: typed, frozen, read once, and the names that follow from them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, TomlConfigSettingsSource

from pipelines.errors import UserError

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource

SETTINGS_FILE = "claimflow.toml"
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
    "predict",  # the prediction job
    "execution",  # what starts its container: pulls the image, writes the log
    "ci",
]
Function = Literal["champion", "submit", "notify", "sweep"]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,15}$")]


class Settings(BaseSettings):
    """From `CLAIMFLOW_*` in the environment, then `claimflow.toml`, then the defaults here."""

    model_config = SettingsConfigDict(
        env_prefix="CLAIMFLOW_", toml_file=SETTINGS_FILE, frozen=True, extra="forbid"
    )

    # Where it runs.
    project: Name = "claimflow"
    stage: Name = "dev"
    account: Annotated[str, Field(pattern=r"^\d{12}$")] | None = None  # None: ask STS
    region: str = Field(default_factory=lambda: _region())

    # What the data looks like.
    text_column: str = "text"
    label_column: str = "label"

    # What data must be like, and what of it only warns: the options of the step Validate, such as
    # max_overlap = 0.2 or warn_only = "overlap,duplicates" (steps/validation_settings.py).
    validation: dict[str, str | int | float] = Field(default_factory=dict)

    # What a run may cost.
    processing_instance_type: str = "ml.m5.large"
    training_instance_type: str = "ml.c5.2xlarge"
    training_volume_gb: Annotated[int, Field(ge=1, le=16384)] = 30
    max_training_minutes: Annotated[int, Field(ge=1, le=7200)] = 120
    max_processing_minutes: Annotated[int, Field(ge=1, le=7200)] = 60
    # Pipeline parameters carry values, not logic: spot or not is part of the definition.
    use_spot: bool = True
    cache_days: Annotated[int, Field(ge=0, le=365)] = 30

    # What a model must reach.
    min_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.8
    allowed_regression: Annotated[float, Field(ge=0, le=1)] = 0.005

    # Tracking: an http(s) address, the ARN of a SageMaker tracking server, or "none".
    mlflow_tracking_uri: str = "none"

    # The local cloud.
    state: Path = Path(".claimflow")

    @model_validator(mode="after")
    def _names_fit(self) -> Settings:
        longest = self.bucket("predictions")
        if len(longest) > LONGEST_BUCKET:
            raise ValueError(
                f"project and stage are too long: the bucket {longest} would have "
                f"{len(longest)} characters, S3 allows {LONGEST_BUCKET}"
            )
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
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @classmethod
    def load(cls, **given: object) -> Settings:
        """Reads the settings.

        Raises
        ------
        UserError
            A value that does not fit, or a name in `claimflow.toml` that is no setting: one line.
        """
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            if not name:  # of several settings together
                raise UserError(
                    f"{SETTINGS_FILE}: {first['msg'].removeprefix('Value error, ')}"
                ) from None
            if first["type"] == "extra_forbidden":
                known = ", ".join(sorted(cls.model_fields))
                raise UserError(
                    f"{SETTINGS_FILE}: there is no setting {name}; known: {known}"
                ) from None
            raise UserError(
                f"setting {name} ({SETTINGS_FILE} or CLAIMFLOW_{name.upper()}): "
                f"got {first['input']!r}; {first['msg']}"
            ) from None
        except ValueError as error:  # a TOML file that does not parse
            raise UserError(f"{SETTINGS_FILE} cannot be read: {error}") from None

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
        return f"{self.prefix}-{purpose}-{self._account}-{self.region}"

    def role_arn(self, purpose: Role) -> str:
        return f"arn:aws:iam::{self._account}:role/{self.prefix}-{purpose}"

    def function_name(self, purpose: Function) -> str:
        return f"{self.prefix}-{purpose}"

    def function_arn(self, purpose: Function) -> str:
        return (
            f"arn:aws:lambda:{self.region}:{self._account}:function:{self.function_name(purpose)}"
        )

    def image_repository(self, target: str) -> str:
        return f"{self._account}.dkr.ecr.{self.region}.amazonaws.com/{self.project}/{target}"

    @property
    def upload_queue(self) -> str:
        return f"{self.prefix}-uploads"

    @property
    def notice_queue(self) -> str:
        return f"{self.prefix}-notices"

    @property
    def dead_letter_queue(self) -> str:
        return f"{self.prefix}-dead"

    @property
    def notice_topic_arn(self) -> str:
        return f"arn:aws:sns:{self.region}:{self._account}:{self.prefix}-notices"

    @property
    def job_queue(self) -> str:
        return f"{self.prefix}-predict"

    @property
    def job_definition(self) -> str:
        return f"{self.prefix}-predict"

    @property
    def tags(self) -> dict[str, str]:
        return {"project": self.project, "stage": self.stage}

    @property
    def _account(self) -> str:
        return self.account or LOCAL_ACCOUNT


def _region() -> str:
    """As boto3 finds it: the environment, then the profile."""
    given = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    config = Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser()
    if given or not config.exists():
        return given or DEFAULT_REGION
    import botocore.session

    return botocore.session.Session().get_config_variable("region") or DEFAULT_REGION
