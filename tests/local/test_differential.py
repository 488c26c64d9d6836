"""Expressions and conditions against an independent judge: the SDK's own local executor.

The same pipeline, built with the SDK, is evaluated twice: by `LocalPipelineExecutor` from the SDK's
objects, and by our `Scope` from the definition that the SDK writes. Its jobs need Docker, so a
client stands in that only returns a job's description; everything that is compared is the SDK's.
"""

from __future__ import annotations

import copy
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.local.definitions import parse_definition
from pipelines.local.expressions import ExpressionError, Scope

REPORT = {
    "accuracy": 0.9,
    "rows": 12,
    "name": "ngram",
    "ok": True,
    "none": None,
    "deep": {"list": [1, {"f1": 0.25}], "empty": ""},
}
JOB = {
    "ProcessingJobName": "job",
    "ProcessingJobStatus": "Completed",
    "ExitMessage": "2 warnings",
    "ProcessingOutputConfig": {
        "Outputs": [{"OutputName": "report", "S3Output": {"S3Uri": "s3://bucket/report"}}]
    },
    "ProcessingInputs": [{"InputName": "data", "S3Input": {"S3Uri": "s3://bucket/data"}}],
}
PATHS = [
    "accuracy",
    "rows",
    "name",
    "ok",
    "none",
    "missing",
    "deep.list[0]",
    "deep.list[1].f1",
    "deep.list[-1]['f1']",
    "deep.list[5]",
    "deep['empty']",
    "deep.empty.x",
    "rows.x",
]
PROPERTIES = [
    ("ProcessingJobName",),
    ("ExitMessage",),
    ("ProcessingJobStatus",),
    ("ProcessingEndTime",),  # a job that ended so has none
]
FAILED = "failed"


class StandIn:
    """What the SDK's executor asks of its session: a client for jobs, and objects of S3."""

    @property
    def sagemaker_client(self) -> StandIn:
        return self

    def create_processing_job(self, name: str, **_: Any) -> None:
        """Docker would run here."""

    def describe_processing_job(self, _: str) -> dict[str, Any]:
        return copy.deepcopy(JOB)

    def read_s3_file(self, bucket: str, key: str) -> str:
        assert (bucket, key) in [("bucket", "report/report.json"), ("other", "x.json")]
        return json.dumps(REPORT)


@dataclass(frozen=True)
class Sdk:
    """The SDK, imported once (it takes seconds), and the parts that every pipeline has."""

    session: Any
    parameters: dict[str, Any]
    source: Any
    report: Any

    def pipeline(self, conditions: list[Any], message: Any) -> Any:
        from sagemaker.mlops.workflow.condition_step import ConditionStep
        from sagemaker.mlops.workflow.fail_step import FailStep
        from sagemaker.mlops.workflow.pipeline import Pipeline

        gate = ConditionStep(
            name="Gate",
            conditions=conditions,
            if_steps=[FailStep(name="Then", error_message=message)],
            else_steps=[FailStep(name="Else", error_message=message)],
            depends_on=[self.source],
        )
        return Pipeline(
            name="line",
            parameters=list(self.parameters.values()),
            steps=[self.source, gate],
            pipeline_experiment_config=None,
            sagemaker_session=self.session,
        )


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAGEMAKER_VALIDATE_ROLE", "false")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        logging.disable(logging.WARNING)
        yield _sdk()
        logging.disable(logging.NOTSET)


def _sdk() -> Sdk:
    import boto3
    from sagemaker.core.processing import Processor
    from sagemaker.core.shapes import ProcessingOutput, ProcessingS3Output
    from sagemaker.core.workflow.parameters import (
        ParameterBoolean,
        ParameterFloat,
        ParameterInteger,
        ParameterString,
    )
    from sagemaker.core.workflow.pipeline_context import PipelineSession
    from sagemaker.core.workflow.properties import PropertyFile
    from sagemaker.mlops.workflow.steps import ProcessingStep

    session = PipelineSession(
        boto_session=boto3.Session("none", "none", region_name="us-east-1"),
        default_bucket="bucket",
        sagemaker_config={
            "SchemaVersion": "1.0",
            "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
        },
    )
    processor = Processor(
        role="arn:aws:iam::123456789012:role/r",
        image_uri="image",
        instance_count=1,
        instance_type="ml.m5.large",
        sagemaker_session=session,
    )
    output = ProcessingOutput(
        output_name="report",
        s3_output=ProcessingS3Output(
            s3_uri="s3://bucket/report",
            local_path="/opt/ml/processing/report",
            s3_upload_mode="EndOfJob",
        ),
    )
    report = PropertyFile(name="Report", output_name="report", path="report.json")

    class Source(ProcessingStep):  # type: ignore[misc]
        """A step that makes its request once: the SDK takes 0.4 s for each."""

        arguments = cached_property(ProcessingStep.arguments.fget)

    source = Source(
        name="Source", step_args=processor.run(outputs=[output]), property_files=[report]
    )
    parameters = {
        "Text": ParameterString("Text", default_value="text"),
        "Count": ParameterInteger("Count", default_value=3),
        "Rate": ParameterFloat("Rate", default_value=0.5),
        "Flag": ParameterBoolean("Flag", default_value=True),
    }
    return Sdk(session, parameters, source, report)


def judged(pipeline: Any, given_parameters: dict[str, Any]) -> tuple[Any, Any]:
    """(outcome of the gate, message of the fail step) as the SDK's executor finds them; what
    cannot be evaluated is `FAILED`."""
    from sagemaker.mlops.local.pipeline import LocalPipelineExecutor
    from sagemaker.mlops.local.pipeline_entities import _LocalPipelineExecution

    execution = _LocalPipelineExecution("id", pipeline, given_parameters, local_session=StandIn())
    LocalPipelineExecutor(execution, StandIn()).execute()
    steps = execution.step_execution
    assert steps["Source"].status == "Succeeded", steps["Source"].failure_reason
    if steps["Gate"].status == "Failed":
        return FAILED, None
    outcome = steps["Gate"].properties["Outcome"]
    branch = steps["Then" if outcome else "Else"]
    return outcome, branch.properties.get("ErrorMessage", FAILED)


def ours(pipeline: Any, given_parameters: dict[str, Any]) -> tuple[Any, Any]:
    """The same, by our code, from the definition."""
    definition = parse_definition(pipeline.definition())
    texts = [{"Name": name, "Value": str(value)} for name, value in given_parameters.items()]

    def property_file(step: str, name: str) -> Any:
        assert (step, name) == ("Source", "Report")
        return REPORT

    # The SDK's executor knows no ARNs: it gives names in their place.
    execution = {
        "PipelineName": "line",
        "PipelineArn": "line",
        "PipelineExecutionId": "id",
        "PipelineExecutionArn": "id",
    }
    scope = Scope(
        definition.values(texts),
        execution,
        {"Source": JOB},
        property_file,
        {"s3://other/x.json": REPORT}.__getitem__,
    )
    try:
        outcome = scope.all_hold(definition.steps["Gate"].arguments["Conditions"])
    except ExpressionError:
        return FAILED, None
    try:
        branch = definition.steps["Then" if outcome else "Else"]
        return outcome, scope.resolve(branch.arguments)["ErrorMessage"]
    except ExpressionError:
        return outcome, FAILED


def assert_alike(
    sdk: Sdk, conditions: list[Any], message: Any, given_parameters: dict[str, Any] | None = None
) -> tuple[Any, Any]:
    pipeline = sdk.pipeline(conditions, message)
    found = ours(pipeline, given_parameters or {})
    assert found == judged(pipeline, given_parameters or {})
    return found


# Leaves, by what they are made from: hypothesis draws the recipe, `build` makes the SDK's object.

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=8)
numbers = st.integers(-5, 5) | st.sampled_from([0.5, 0.25, 0.9, 3.0, -1e-9, 1e30])
primitives = texts | numbers | st.booleans()
leaves = (
    st.tuples(st.just("value"), primitives)
    | st.tuples(st.just("parameter"), st.sampled_from(["Text", "Count", "Rate", "Flag"]))
    | st.tuples(st.just("file"), st.sampled_from(PATHS))
    | st.tuples(st.just("s3"), st.sampled_from(PATHS))
    | st.tuples(st.just("property"), st.sampled_from(PROPERTIES))
    | st.tuples(st.just("output"), st.none())
    | st.tuples(
        st.just("execution"), st.sampled_from(["NAME", "ARN", "EXECUTION_ID", "EXECUTION_ARN"])
    )
)
# A message may not read JSON (the service refuses it), a condition may.
message_leaves = leaves.filter(lambda leaf: leaf[0] not in ("file", "s3"))


def joins(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        of,
        lambda inner: st.tuples(
            st.just("join"),
            st.tuples(st.sampled_from(["", "/", ", "]), st.lists(inner, max_size=3)),
        ),
        max_leaves=6,
    )


values = joins(leaves)
COMPARISONS = ["Equals", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo"]
conditions = st.recursive(
    st.tuples(st.sampled_from(COMPARISONS), st.tuples(values, values))
    | st.tuples(st.just("In"), st.tuples(values, st.lists(values, min_size=1, max_size=3))),
    lambda inner: (
        st.tuples(st.just("Not"), inner)
        | st.tuples(st.just("Or"), st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=4,
)


def build(sdk: Sdk, recipe: tuple[str, Any]) -> Any:
    from sagemaker.core.workflow import conditions as sdk_conditions
    from sagemaker.core.workflow.execution_variables import ExecutionVariables
    from sagemaker.core.workflow.functions import Join, JsonGet

    kind, inner = recipe
    properties = sdk.source.properties
    if kind == "parameter":
        return sdk.parameters[inner]
    if kind == "file":
        return JsonGet(step_name="Source", property_file=sdk.report, json_path=inner)
    if kind == "s3":
        return JsonGet(s3_uri=Join(on="/", values=["s3://other", "x.json"]), json_path=inner)
    if kind == "property":
        return getattr(properties, inner[0])
    if kind == "output":
        return properties.ProcessingOutputConfig.Outputs["report"].S3Output.S3Uri
    if kind == "execution":
        return getattr(ExecutionVariables, f"PIPELINE_{inner}")
    if kind == "join":
        return Join(on=inner[0], values=[build(sdk, one) for one in inner[1]])
    if kind == "Not":
        return sdk_conditions.ConditionNot(build(sdk, inner))
    if kind == "Or":
        return sdk_conditions.ConditionOr([build(sdk, one) for one in inner])
    if kind == "In":
        value, among = inner
        return sdk_conditions.ConditionIn(build(sdk, value), [build(sdk, one) for one in among])
    if kind in COMPARISONS:
        left, right = (build(sdk, one) for one in inner)
        return getattr(sdk_conditions, f"Condition{kind}")(left=left, right=right)
    assert kind == "value"
    return inner


many = settings(
    max_examples=int(os.environ.get("EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@many
@given(st.lists(conditions, min_size=1, max_size=2))
def test_random_conditions_hold_as_in_the_sdk(sdk: Sdk, recipes: list[Any]) -> None:
    assert_alike(sdk, [build(sdk, one) for one in recipes], "message")


@many
@given(joins(message_leaves).filter(lambda one: one[0] != "value" or isinstance(one[1], str)))
def test_random_messages_read_as_in_the_sdk(sdk: Sdk, recipe: Any) -> None:
    always = build(sdk, ("Equals", (("value", 1), ("value", 1))))
    message = build(sdk, recipe)
    assert_alike(sdk, [always], message)


@many
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "Text": texts.filter(bool),
            "Count": st.integers(-(2**40), 2**40),
            "Rate": st.floats(allow_nan=False, allow_infinity=False),
            "Flag": st.booleans(),
        },
    )
)
def test_parameters_of_every_type_read_as_in_the_sdk(
    sdk: Sdk, given_values: dict[str, Any]
) -> None:
    always = build(sdk, ("Equals", (("value", 1), ("value", 1))))
    every = [("parameter", name) for name in ("Text", "Count", "Rate", "Flag")]
    assert_alike(sdk, [always], build(sdk, ("join", (" | ", every))), given_values)


VALUES = [1, 1.0, 0, 2.5, "1", "", "a", "b", True, False]


@pytest.mark.parametrize("kind", [*COMPARISONS, "In"])
def test_every_pair_of_types_compares_or_fails_as_in_the_sdk(sdk: Sdk, kind: str) -> None:
    found = set()
    for left in VALUES:
        for right in VALUES:
            pair = ("value", left), ("value", right)
            recipe = (kind, pair) if kind != "In" else (kind, (pair[0], [pair[1]]))
            found.add(assert_alike(sdk, [build(sdk, recipe)], "message")[0])
    assert found == ({True, False} if kind == "In" else {True, False, FAILED})


@pytest.mark.parametrize("kind", ["file", "s3"])
@pytest.mark.parametrize("path", PATHS)
def test_json_is_read_as_in_the_sdk(sdk: Sdk, kind: str, path: str) -> None:
    among = [("value", one) for one in (0.9, 12, "ngram", True, 1, 0.25, "")]
    outcome, _ = assert_alike(sdk, [build(sdk, ("In", ((kind, path), among)))], "message")
    is_there = path not in ("none", "missing", "deep.list[5]", "deep.empty.x", "rows.x")
    assert outcome == (True if is_there else FAILED)


def test_a_part_of_an_or_that_is_not_needed_must_be_there_all_the_same(sdk: Sdk) -> None:
    true = ("Equals", (("value", 1), ("value", 1)))
    broken = ("Equals", (("file", "missing"), ("value", 1)))
    outcome, _ = assert_alike(sdk, [build(sdk, ("Or", [true, broken]))], "message")
    assert outcome == FAILED
