"""The pipeline's definition: the only file that imports the SageMaker SDK.

Import it late: that takes seconds.

It is built without network and without credentials; what comes out is the JSON document that upsert
stores, and that both SageMaker and the local cloud run.
"""

from __future__ import annotations

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

from pipelines.images import image
from pipelines.instance_types import takes_volume_key
from pipelines.settings import Settings

# What the training container prints, and SageMaker turns into metrics.
METRICS = {
    "train:loss": r"train_loss=([0-9.eE+-]+)",
    "validation:accuracy": r"val_accuracy=([0-9.eE+-]+)",
    "train:samples_per_s": r"samples_per_s=([0-9.eE+-]+)",
}


def definition(settings: Settings, images: Mapping[str, str]) -> str:
    """The pipeline as JSON; `images` are the images' addresses by target."""
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"  # it would ask IAM about the role's trust
    return str(_build(settings, images).definition())


def _build(settings: Settings, images: Mapping[str, str]) -> Pipeline:
    session = PipelineSession(
        # Nothing is called: the credentials only keep boto3 from looking for some.
        boto_session=boto3.Session("none", "none", region_name=settings.region),
        default_bucket=settings.bucket("models"),
        sagemaker_config={
            "SchemaVersion": "1.0",
            "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
        },
    )
    data, models = settings.bucket("data"), settings.bucket("models")

    def run_folder(name: str) -> Join:
        execution = ExecutionVariables.PIPELINE_EXECUTION_ID
        return Join(on="/", values=[f"s3://{models}/runs", execution, name])

    # What a start may change.
    train_data = ParameterString("TrainData", default_value=f"s3://{data}/train.csv")
    test_data = ParameterString("TestData", default_value=f"s3://{data}/test.csv")
    text_column = ParameterString("TextColumn", default_value=settings.text_column)
    label_column = ParameterString("LabelColumn", default_value=settings.label_column)
    model_kind = ParameterString("ModelKind", default_value="ngram")
    epochs = ParameterInteger("Epochs", default_value=20)
    learning_rate = ParameterFloat("LearningRate", default_value=0.0)  # the kind's own
    batch_size = ParameterInteger("BatchSize", default_value=0)
    seed = ParameterInteger("Seed", default_value=0)
    training_instance_type = ParameterString(
        "TrainingInstanceType", default_value=settings.training_instance_type
    )
    training_instance_count = ParameterInteger("TrainingInstanceCount", default_value=1)
    processing_instance_type = ParameterString(
        "ProcessingInstanceType", default_value=settings.processing_instance_type
    )
    min_accuracy = ParameterFloat("MinAccuracy", default_value=settings.min_accuracy)
    allowed_regression = ParameterFloat(
        "AllowedRegression", default_value=settings.allowed_regression
    )
    approval_status = ParameterString(
        "ApprovalStatus",
        default_value="PendingManualApproval",
        enum_values=["PendingManualApproval", "Approved", "Rejected"],
    )
    code_version = ParameterString("CodeVersion", default_value="unknown")
    tracking_uri = ParameterString("MlflowTrackingUri", default_value=settings.mlflow_tracking_uri)

    cache = CacheConfig(
        enable_caching=settings.cache_days > 0, expire_after=f"P{settings.cache_days or 1}D"
    )
    # No time, no execution and no commit here: the environment is part of a step's cache key. The
    # code's version is the image's tag, so that a commit that changes no code finds its steps.
    environment = {
        "MLFLOW_TRACKING_URI": tracking_uri,
        "MLFLOW_EXPERIMENT_NAME": settings.pipeline_name,
    }
    columns = ["--text-column", text_column, "--label-column", label_column]

    def processing(name: str, target: str) -> Processor:
        return Processor(
            role=settings.role_arn("processing"),
            image_uri=images[target],
            instance_count=1,
            instance_type=processing_instance_type,
            max_runtime_in_seconds=settings.max_processing_minutes * 60,
            volume_kms_key=_volume_key(settings, settings.processing_instance_type),
            output_kms_key=settings.key_arn,
            network_config=NetworkConfig(
                enable_network_isolation=not settings.needs_network,
                encrypt_inter_container_traffic=True,
            ),
            base_job_name=name,
            env={**environment, "CLAIMFLOW_CODE_VERSION": image(target).tag},
            tags=[Tag(key=key, value=value) for key, value in settings.tags.items()],
            sagemaker_session=session,
        )

    validate = ProcessingStep(
        name="Validate",
        description="Great Expectations: bad data stops the run before training is paid for",
        step_args=processing("validate", "validate").run(
            inputs=[_input("train", train_data), _input("test", test_data)],
            # Continuous: the report is there although the job fails.
            outputs=[_output("validation", run_folder("validation"), "Continuous")],
            arguments=["validate", *columns, *_options(settings.validation)],
        ),
        cache_config=cache,
        retry_policies=_retry_policies(),
    )

    trainer = ModelTrainer(
        training_image=images["gluon-cpu"],
        role=settings.role_arn("training"),
        sagemaker_session=session,
        base_job_name="train",
        compute=Compute(
            instance_type=training_instance_type,
            instance_count=training_instance_count,
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
            s3_uri=f"s3://{models}/checkpoints", local_path="/opt/ml/checkpoints"
        ),
        output_data_config=OutputDataConfig(
            s3_output_path=run_folder("model"), kms_key_id=settings.key_arn
        ),
        environment={**environment, "CLAIMFLOW_CODE_VERSION": image("gluon-cpu").tag},
        # SageMaker takes hyperparameters as text only.
        hyperparameters={
            "kind": model_kind,
            "text_column": text_column,
            "label_column": label_column,
            "epochs": epochs.to_string(),
            "learning_rate": learning_rate.to_string(),
            "batch_size": batch_size.to_string(),
            "seed": seed.to_string(),
        },
        tags=[Tag(key=key, value=value) for key, value in settings.tags.items()],
    ).with_metric_definitions(
        [MetricDefinition(name=name, regex=regex) for name, regex in METRICS.items()]
    )
    train = TrainingStep(
        name="Train",
        description="MXNet Gluon, on a GPU where there is one",
        step_args=trainer.train(
            input_data_config=[InputData(channel_name="train", data_source=train_data)]
        ),
        depends_on=[validate],
        cache_config=cache,
        retry_policies=_retry_policies(),
    )

    champion = LambdaStep(
        name="Champion",
        description="The approved model of today, or none",
        lambda_func=Lambda(function_arn=settings.function_arn("champion"), session=session),
        inputs={
            "model_package_group": settings.model_package_group,
            "no_champion_uri": f"s3://{models}/no-champion/",
        },
        outputs=[
            LambdaOutput("uri", LambdaOutputTypeEnum.String),
            LambdaOutput("arn", LambdaOutputTypeEnum.String),
            LambdaOutput("version", LambdaOutputTypeEnum.Integer),
        ],
    )

    report = PropertyFile(name="EvaluationReport", output_name="evaluation", path="evaluation.json")
    evaluate = ProcessingStep(
        name="Evaluate",
        description="Challenger and champion on the same test set",
        step_args=processing("evaluate", "gluon-cpu").run(
            inputs=[
                _input("model", train.properties.ModelArtifacts.S3ModelArtifacts),
                _input("champion", champion.properties.Outputs["uri"]),
                _input("test", test_data),
            ],
            outputs=[_output("evaluation", run_folder("evaluation"), "EndOfJob")],
            arguments=["evaluate", *columns],
        ),
        property_files=[report],
        cache_config=cache,
        retry_policies=_retry_policies(),
    )

    # The output's own address, not this run's folder: a cached Evaluate left it elsewhere.
    evaluation_uri = evaluate.properties.ProcessingOutputConfig.Outputs["evaluation"].S3Output.S3Uri
    register = ModelStep(
        name="Register",
        step_args=ModelBuilder(
            image_uri=images["gluon-cpu"],
            s3_model_data_url=train.properties.ModelArtifacts.S3ModelArtifacts,
            role_arn=settings.role_arn("training"),
            instance_type="ml.m5.large",
            dependencies={},  # its default makes the builder call S3
            sagemaker_session=session,
        ).register(
            model_package_group_name=settings.model_package_group,
            content_types=["text/csv", "application/jsonlines"],
            response_types=["text/csv", "application/jsonlines"],
            approval_status=approval_status,
            customer_metadata_properties={
                "code_version": code_version,
                "execution": ExecutionVariables.PIPELINE_EXECUTION_ARN,
                "train_data": train_data,
                "test_data": test_data,
            },
            model_metrics=ModelMetrics(
                model_statistics=MetricsSource(
                    content_type="application/json",
                    s3_uri=Join(
                        on="/",
                        values=[evaluation_uri, "statistics.json"],
                    ),
                )
            ),
        ),
    )
    rejected = FailStep(
        name="ModelRejected",
        error_message=Join(
            on="",
            values=[
                "The model is not registered: it needs an accuracy of at least ",
                min_accuracy,
                ", and may lose at most ",
                allowed_regression,
                " against the champion. What it reached is in ",
                evaluation_uri,
                "/evaluation.json",
            ],
        ),
    )
    gate = ConditionStep(
        name="ModelGate",
        conditions=[
            ConditionGreaterThanOrEqualTo(
                left=JsonGet(
                    step_name=evaluate.name,
                    property_file=report,
                    json_path="challenger.accuracy",
                ),
                right=min_accuracy,
            ),
            ConditionLessThanOrEqualTo(
                left=JsonGet(
                    step_name=evaluate.name,
                    property_file=report,
                    json_path="comparison.regression",
                ),
                right=allowed_regression,
            ),
        ],
        if_steps=[register],
        else_steps=[rejected],
    )

    return Pipeline(
        name=settings.pipeline_name,
        parameters=[
            train_data,
            test_data,
            text_column,
            label_column,
            model_kind,
            epochs,
            learning_rate,
            batch_size,
            seed,
            training_instance_type,
            training_instance_count,
            processing_instance_type,
            min_accuracy,
            allowed_regression,
            approval_status,
            code_version,
            tracking_uri,
        ],
        steps=[validate, champion, train, evaluate, gate],
        pipeline_experiment_config=None,  # MLflow tracks; SageMaker Experiments is retired
        sagemaker_session=session,
    )


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
