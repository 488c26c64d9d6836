"""The pipeline's definition: the only file that imports the SageMaker SDK.

Import it late: that takes seconds.

It is built without network and without credentials; what comes out is the JSON document that upsert
stores, and that both SageMaker and the local cloud run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import boto3

# The SDK makes a client while it is imported, which needs some region; the session has its own.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from sagemaker.core.lambda_helper import Lambda
from sagemaker.core.model_metrics import MetricsSource, ModelMetrics
from sagemaker.core.network import NetworkConfig
from sagemaker.core.processing import Processor
from sagemaker.core.shapes import (
    CheckpointConfig,
    MetricDefinition,
    OutputDataConfig,
    ProcessingInput,
    ProcessingOutput,
    ProcessingS3Input,
    ProcessingS3Output,
    Tag,
)
from sagemaker.core.workflow.conditions import (
    ConditionGreaterThanOrEqualTo,
    ConditionLessThanOrEqualTo,
)
from sagemaker.core.workflow.execution_variables import ExecutionVariables
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum, LambdaStep
from sagemaker.mlops.workflow.model_step import ModelStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.steps import CacheConfig, ProcessingStep, TrainingStep
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, Networking, StoppingCondition

from pipelines.images import image, training_target
from pipelines.instance_types import takes_volume_key
from pipelines.settings import Settings
from pipelines.tuning import KINDS, OBJECTIVES

# What the training container prints, and SageMaker turns into metrics.
METRICS = {
    "train:loss": r"train_loss=([0-9.eE+-]+)",
    "validation:accuracy": OBJECTIVES["accuracy"],
    "validation:macro_f1": OBJECTIVES["macro_f1"],
    "train:samples_per_s": r"samples_per_s=([0-9.eE+-]+)",
}


def definition(settings: Settings, images: Mapping[str, str]) -> str:
    """The pipeline as JSON; `images` are the images' addresses by target."""
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"  # it would ask IAM about the role's trust
    os.environ.setdefault("AWS_DEFAULT_REGION", settings.region)  # for sessions of its own
    return str(_Line(settings, images).pipeline().definition())


class _Parameters:
    """What a start may change."""

    def __init__(self, settings: Settings) -> None:
        data = settings.bucket("data")
        self.train_data = ParameterString("TrainData", f"s3://{data}/train.csv")
        self.test_data = ParameterString("TestData", f"s3://{data}/test.csv")
        self.text_column = ParameterString("TextColumn", settings.text_column)
        self.label_column = ParameterString("LabelColumn", settings.label_column)
        self.model_kind = ParameterString("ModelKind", settings.model_kind, enum_values=list(KINDS))
        others: dict[str, Any] = dict(settings.hyperparameters)
        # 0: the kind's own epochs and learning rate.
        self.epochs = ParameterInteger("Epochs", int(others.pop("epochs", 0)))
        self.learning_rate = ParameterFloat("LearningRate", float(others.pop("learning_rate", 0.0)))
        self.batch_size = ParameterInteger("BatchSize", int(others.pop("batch_size", 0)))
        self.seed = ParameterInteger("Seed", int(others.pop("seed", 0)))
        self.hyperparameters = ParameterString(
            "Hyperparameters", json.dumps(others, ensure_ascii=False)
        )
        self.training_instance_type = ParameterString(
            "TrainingInstanceType", settings.training_instance_type
        )
        self.training_instance_count = ParameterInteger("TrainingInstanceCount", 1)
        self.processing_instance_type = ParameterString(
            "ProcessingInstanceType", settings.processing_instance_type
        )
        self.min_accuracy = ParameterFloat("MinAccuracy", settings.min_accuracy)
        self.min_macro_f1 = ParameterFloat("MinMacroF1", settings.min_macro_f1)
        self.min_class_recall = ParameterFloat("MinClassRecall", settings.min_class_recall)
        self.max_calibration_error = ParameterFloat(
            "MaxCalibrationError", settings.max_calibration_error
        )
        self.allowed_regression = ParameterFloat("AllowedRegression", settings.allowed_regression)
        # What is known of the start, for the model's metadata.
        self.code_version = ParameterString("CodeVersion", "unknown")
        self.cause = ParameterString("Cause", "manual")
        self.data_manifest = ParameterString("DataManifest", "none")
        self.tracking_uri = ParameterString("MlflowTrackingUri", settings.mlflow_tracking_uri)

    def all(self) -> list[Any]:
        return list(vars(self).values())


class _Line:
    """The steps of one pipeline, each made from those that it needs."""

    def __init__(self, settings: Settings, images: Mapping[str, str]) -> None:
        self._settings = settings
        self._images = images
        self._parameters = _Parameters(settings)
        self._session = PipelineSession(
            # Nothing is called: the credentials only keep boto3 from looking for some.
            boto_session=boto3.Session("none", "none", region_name=settings.region),
            default_bucket=settings.bucket("models"),
            sagemaker_config={
                "SchemaVersion": "1.0",
                "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
            },
        )
        self._tags = [Tag(key=key, value=value) for key, value in settings.tags.items()]
        # A job that costs money is not run twice for the same, and tried again for a passing fault.
        self._job_step = {
            "cache_config": CacheConfig(
                enable_caching=settings.cache_days > 0, expire_after=f"P{settings.cache_days or 1}D"
            ),
            "retry_policies": _retry_policies(),
        }

    def pipeline(self) -> Pipeline:
        validate = self._validate()
        train = self._train(validate)
        champion = self._champion()
        evaluate = self._evaluate(train, champion)
        gate = self._gate(evaluate, self._register(train, evaluate), self._rejected(evaluate))
        return Pipeline(
            name=self._settings.pipeline_name,
            parameters=self._parameters.all(),
            steps=[validate, champion, train, evaluate, gate],
            pipeline_experiment_config=None,  # MLflow tracks; SageMaker Experiments is retired
            sagemaker_session=self._session,
        )

    def _validate(self) -> ProcessingStep:
        given = self._parameters
        return ProcessingStep(
            name="Validate",
            description="Great Expectations: bad data stops the run before training is paid for",
            step_args=self._processor("validate", "validate").run(
                inputs=[_input("train", given.train_data), _input("test", given.test_data)],
                outputs=[
                    # Continuous: the report is there although the job fails.
                    _output("validation", self._run_folder("validation"), "Continuous"),
                    _output("training", self._run_folder("training"), "EndOfJob"),
                ],
                arguments=["validate", *self._columns(), *_options(self._settings.validation)],
            ),
            **self._job_step,
        )

    def _train(self, validate: ProcessingStep) -> TrainingStep:
        settings, given = self._settings, self._parameters
        target = training_target(settings)
        trainer = ModelTrainer(
            training_image=self._images[target],
            role=settings.role_arn("training"),
            sagemaker_session=self._session,
            base_job_name="train",
            compute=Compute(
                instance_type=given.training_instance_type,
                instance_count=given.training_instance_count,
                volume_size_in_gb=settings.training_volume_gb,
                volume_kms_key_id=_volume_key(settings, settings.training_instance_type),
                enable_managed_spot_training=settings.use_spot,
            ),
            networking=Networking(
                # What distributed training sends between its own containers passes all the same.
                enable_network_isolation=not settings.needs_network,
                enable_inter_container_traffic_encryption=True,
            ),
            stopping_condition=StoppingCondition(
                max_runtime_in_seconds=settings.max_training_minutes * 60,
                max_wait_time_in_seconds=settings.max_training_minutes * 60 * 2
                if settings.use_spot
                else None,
            ),
            # One prefix for all runs, because it is part of the cache key; the training names its
            # checkpoints by a fingerprint of data and hyperparameters, so that runs do not mix.
            checkpoint_config=CheckpointConfig(
                s3_uri=f"s3://{settings.bucket('models')}/checkpoints",
                local_path="/opt/ml/checkpoints",
            ),
            output_data_config=OutputDataConfig(
                s3_output_path=self._run_folder("model"), kms_key_id=settings.key_arn
            ),
            environment=self._environment(target),
            # SageMaker takes hyperparameters as text only.
            hyperparameters={
                "kind": given.model_kind,
                "text_column": given.text_column,
                "label_column": given.label_column,
                "epochs": given.epochs.to_string(),
                "learning_rate": given.learning_rate.to_string(),
                "batch_size": given.batch_size.to_string(),
                "seed": given.seed.to_string(),
                "hyperparameters": given.hyperparameters,
            },
            tags=self._tags,
        ).with_metric_definitions(
            [MetricDefinition(name=name, regex=regex) for name, regex in METRICS.items()]
        )
        channels = {
            "train": _output_uri(validate, "training"),
            # A parameter cannot leave a channel out, a setting can.
            "vectors": settings.vectors_uri,
            "pretrained": settings.pretrained_uri,
        }
        return TrainingStep(
            name="Train",
            description="MXNet Gluon, on a GPU where there is one",
            step_args=trainer.train(
                input_data_config=[
                    InputData(channel_name=name, data_source=uri)
                    for name, uri in channels.items()
                    if uri is not None
                ]
            ),
            **self._job_step,
        )

    def _champion(self) -> LambdaStep:
        settings = self._settings
        return LambdaStep(
            name="Champion",
            description="The approved model of today, or none",
            lambda_func=Lambda(
                function_arn=settings.function_arn("champion"), session=self._session
            ),
            inputs={
                "model_package_group": settings.model_package_group,
                "no_champion_uri": f"s3://{settings.bucket('models')}/no-champion/",
            },
            outputs=[
                LambdaOutput("uri", LambdaOutputTypeEnum.String),
                LambdaOutput("arn", LambdaOutputTypeEnum.String),
                LambdaOutput("version", LambdaOutputTypeEnum.Integer),
            ],
        )

    def _evaluate(self, train: TrainingStep, champion: LambdaStep) -> ProcessingStep:
        return ProcessingStep(
            name="Evaluate",
            description="Challenger and champion on the same test set",
            step_args=self._processor("evaluate", "gluon-cpu").run(
                inputs=[
                    _input("model", train.properties.ModelArtifacts.S3ModelArtifacts),
                    _input("champion", champion.properties.Outputs["uri"]),
                    _input("test", self._parameters.test_data),
                ],
                outputs=[_output("evaluation", self._run_folder("evaluation"), "EndOfJob")],
                arguments=["evaluate", *self._columns()],
            ),
            property_files=[_REPORT],
            **self._job_step,
        )

    def _gate(self, evaluate: ProcessingStep, register: ModelStep, no: FailStep) -> ConditionStep:
        """What `pipelines/bars.py` judges in words."""
        given = self._parameters

        def figure(path: str) -> JsonGet:
            return JsonGet(step_name=evaluate.name, property_file=_REPORT, json_path=path)

        at_least = {
            "challenger.accuracy": given.min_accuracy,
            "challenger.macro_f1": given.min_macro_f1,
            "challenger.worst_class_recall": given.min_class_recall,
        }
        at_most = {
            "challenger.calibration_error": given.max_calibration_error,
            # The lower end: what the test set's size alone may explain does not block.
            "comparison.regression_low": given.allowed_regression,
        }
        return ConditionStep(
            name="ModelGate",
            conditions=[
                *(
                    ConditionGreaterThanOrEqualTo(left=figure(path), right=bar)
                    for path, bar in at_least.items()
                ),
                *(
                    ConditionLessThanOrEqualTo(left=figure(path), right=bar)
                    for path, bar in at_most.items()
                ),
            ],
            if_steps=[register],
            else_steps=[no],
        )

    def _register(self, train: TrainingStep, evaluate: ProcessingStep) -> ModelStep:
        given, artifact = self._parameters, train.properties.ModelArtifacts.S3ModelArtifacts
        statistics = Join(on="/", values=[_output_uri(evaluate, "evaluation"), "statistics.json"])
        return ModelStep(
            name="Register",
            step_args=ModelBuilder(
                image_uri=self._images["gluon-cpu"],
                s3_model_data_url=artifact,
                role_arn=self._settings.role_arn("training"),
                instance_type="ml.m5.large",
                dependencies={},  # its default makes the builder call S3
                sagemaker_session=self._session,
            ).register(
                model_package_group_name=self._settings.model_package_group,
                content_types=["text/csv", "application/jsonlines"],
                response_types=["text/csv", "application/jsonlines"],
                approval_status="PendingManualApproval",  # who starts a run does not approve it
                customer_metadata_properties={
                    "code_version": given.code_version,
                    "execution": ExecutionVariables.PIPELINE_EXECUTION_ARN,
                    "cause": given.cause,
                    "train_data": given.train_data,
                    "test_data": given.test_data,
                    "data_manifest": given.data_manifest,
                    "image": self._images["gluon-cpu"],
                },
                model_metrics=ModelMetrics(
                    model_statistics=MetricsSource(
                        content_type="application/json", s3_uri=statistics
                    )
                ),
            ),
        )

    def _rejected(self, evaluate: ProcessingStep) -> FailStep:
        """Its message can join parameters and properties only. What the model reached is what
        Evaluate leaves as its exit message."""
        given = self._parameters
        return FailStep(
            name="ModelRejected",
            error_message=Join(
                on="",
                values=[
                    "The model is not registered: ",
                    evaluate.properties.ExitMessage,
                    "; it needs an accuracy of at least ",
                    given.min_accuracy,
                    ", a macro F1 of at least ",
                    given.min_macro_f1,
                    ", a recall of each class of at least ",
                    given.min_class_recall,
                    ", a calibration error of at most ",
                    given.max_calibration_error,
                    ", and to lose at most ",
                    given.allowed_regression,
                    " of accuracy against the champion by the lower end of the interval; "
                    "all figures are in ",
                    _output_uri(evaluate, "evaluation"),
                    "/evaluation.json",
                ],
            ),
        )

    def _processor(self, name: str, target: str) -> Processor:
        settings = self._settings
        return Processor(
            role=settings.role_arn("processing"),
            image_uri=self._images[target],
            instance_count=1,
            instance_type=self._parameters.processing_instance_type,
            max_runtime_in_seconds=settings.max_processing_minutes * 60,
            volume_kms_key=_volume_key(settings, settings.processing_instance_type),
            output_kms_key=settings.key_arn,
            network_config=NetworkConfig(
                enable_network_isolation=not settings.needs_network,
                encrypt_inter_container_traffic=True,
            ),
            base_job_name=name,
            env=self._environment(target),
            tags=self._tags,
            sagemaker_session=self._session,
        )

    def _environment(self, target: str) -> dict[str, Any]:
        """No time, no execution and no commit here: the environment is part of a step's cache key.
        The code's version is the image's tag, so that a commit that changes no code finds its
        steps."""
        return {
            "MLFLOW_TRACKING_URI": self._parameters.tracking_uri,
            "MLFLOW_EXPERIMENT_NAME": self._settings.pipeline_name,
            "CLAIMFLOW_CODE_VERSION": image(target).tag,
        }

    def _columns(self) -> list[Any]:
        given = self._parameters
        return ["--text-column", given.text_column, "--label-column", given.label_column]

    def _run_folder(self, name: str) -> Join:
        runs = f"s3://{self._settings.bucket('models')}/runs"
        return Join(on="/", values=[runs, ExecutionVariables.PIPELINE_EXECUTION_ID, name])


_REPORT = PropertyFile(name="EvaluationReport", output_name="evaluation", path="evaluation.json")


def _output_uri(step: ProcessingStep, name: str) -> Any:
    """The output's own address, not this run's folder: a cached step left it elsewhere."""
    return step.properties.ProcessingOutputConfig.Outputs[name].S3Output.S3Uri


def _volume_key(settings: Settings, instance_type: str) -> str | None:
    return settings.key_arn if takes_volume_key(instance_type) else None


def _input(name: str, uri: Any) -> ProcessingInput:
    return ProcessingInput(
        input_name=name,
        s3_input=ProcessingS3Input(
            s3_uri=uri,
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            local_path=f"/opt/ml/processing/{name}",
        ),
    )


def _output(name: str, uri: Any, upload: str) -> ProcessingOutput:
    return ProcessingOutput(
        output_name=name,
        s3_output=ProcessingS3Output(
            s3_uri=uri, local_path=f"/opt/ml/processing/{name}", s3_upload_mode=upload
        ),
    )


def _options(settings: Mapping[str, str | int | float]) -> list[str]:
    """Settings as the options of a step's command, in a fixed order."""
    pairs = [(f"--{name.replace('_', '-')}", str(settings[name])) for name in sorted(settings)]
    return [word for pair in pairs for word in pair]


def _retry_policies() -> list[Any]:
    """Retries of what is transient: faults of the service, throttling, capacity."""
    return [
        StepRetryPolicy(
            exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
            interval_seconds=10,
            backoff_rate=2.0,
            max_attempts=5,
        ),
        SageMakerJobStepRetryPolicy(
            exception_types=[SageMakerJobExceptionTypeEnum.RESOURCE_LIMIT],
            interval_seconds=60,
            backoff_rate=2.0,
            expire_after_mins=180,
        ),
        SageMakerJobStepRetryPolicy(
            failure_reason_types=[
                SageMakerJobExceptionTypeEnum.INTERNAL_ERROR,
                SageMakerJobExceptionTypeEnum.CAPACITY_ERROR,
            ],
            interval_seconds=30,
            backoff_rate=2.0,
            max_attempts=3,
        ),
    ]
