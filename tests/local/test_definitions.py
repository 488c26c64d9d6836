"""What is refused before anything runs: each fault by its name, through the API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.local_cloud import (
    ROLE,
    Cloud,
    Document,
    compare,
    condition,
    definition,
    fail,
    get,
    invoke,
    join,
    json_get,
    parameter,
    processing,
    register,
    training,
    unique,
)

SCHEMA = Path(__file__).parents[3] / "shared/data/sagemaker/pipeline-definition.schema.json"
TRUE = compare("Equals", 1, 1)
A = processing("A", "", outputs={"o": "s3://b/o"}, files={"F": ("o", "f.json")})
ASK = invoke("Ask", "f", ("uri",))


def gate(*then: Document, **more: Any) -> Document:
    return condition("Gate", TRUE, then=then, **more)


def reader(reference: str) -> Document:
    return processing("B", "", arguments=(get(reference),))


def retrying(**policy: Any) -> Document:
    return processing("B", "", RetryPolicies=[{"ExceptionType": ["Step.THROTTLING"], **policy}])


REFUSED: dict[str, tuple[list[Any], str]] = {
    "nested condition": (
        [gate(condition("Inner", TRUE))],
        r"Condition step \[Inner\] is nested in \[Gate\]: not supported",
    ),
    "a step in both branches": (
        [condition("Gate", TRUE, then=(A,), otherwise=(A,))],
        r"Step \[A\] is defined twice",
    ),
    "a Lambda in a branch": ([gate(ASK)], r"Step \[Ask\] of type Lambda cannot stand in a branch"),
    "dependency on a condition": (
        [gate(fail("No", "no")), processing("B", "", DependsOn=["Gate"])],
        r"Step \[B\] depends on the condition step \[Gate\]: not supported",
    ),
    "dependency into a branch": (
        [gate(A), processing("B", "", DependsOn=["A"])],
        r"Step \[B\] depends on \[A\], which only runs in a branch of \[Gate\]",
    ),
    "dependency from branch to branch": (
        [condition("Gate", TRUE, then=(A,), otherwise=(processing("B", "", DependsOn=["A"]),))],
        r"which only runs in a branch",
    ),
    "dependency on nothing": (
        [processing("B", "", DependsOn=["Nobody"])],
        r"Step \[B\] depends on \[Nobody\], which does not exist",
    ),
    "dependency with a trigger": (
        [A, processing("B", "", DependsOn=[{"StepName": "A", "Trigger": "Failed"}])],
        r"the local cloud knows names of steps only",
    ),
    "unknown parameter": ([reader("Parameters.X")], r"\[B\] refers to the unknown parameter \[X\]"),
    "unknown step": ([reader("Steps.X.Y")], r"\[B\] depends on \[X\], which does not exist"),
    "unknown execution variable": (
        [reader("Execution.X")],
        r"\[B\] refers to the unknown variable \[Execution.X\]",
    ),
    "unknown root": ([reader("Global.X")], r"unknown reference \[Global.X\]"),
    "a step as a whole": ([A, reader("Steps.A")], r"but to none of its properties"),
    "unknown output parameter": (
        [ASK, reader("Steps.Ask.OutputParameters['x']")],
        r"OutputParameters\['x'\]\], which step \[Ask\] does not have",
    ),
    "unknown property file": (
        [A, condition("Gate", compare("Equals", json_get("A", "X", "p"), 1))],
        r"PropertyFiles.X\], which step \[A\] does not have",
    ),
    "property file of no output": (
        [processing("B", "", files={"F": ("x", "f.json")})],
        r"property file \[F\] lies in the output \[x\]",
    ),
    "reference inside a branch": (
        [gate(fail("No", join(get("Parameters.X"))))],
        r"\[No\] refers to the unknown parameter \[X\]",
    ),
    "cycle": (
        [processing("A", "", DependsOn=["B"]), processing("B", "", DependsOn=["A"])],
        r"The steps depend on each other: A, B",
    ),
    "a step that waits for itself": (
        [processing("A", "", DependsOn=["A"])],
        "depend on each other",
    ),
    "bad step name": ([processing("a b", "")], r"Step name \[a b\] must match"),
    "long step name": ([processing("a" * 65, "")], r"must match"),
    "a step without a name": ([{"Type": "Fail", "Arguments": {}}], r"Step name \[\] must match"),
    "duplicate step": ([A, A], r"Step \[A\] is defined twice"),
    "no steps": ([], "has no steps"),
    "too many steps": ([processing(f"A{i}", "") for i in range(51)], "51 steps; at most 50"),
    "too many steps in branches": (
        [gate(*[fail(f"A{i}", "") for i in range(50)])],
        "51 steps; at most 50",
    ),
    "unknown step type": (
        [{"Name": "A", "Type": "Tuning", "Arguments": {}}],
        r"Step \[A\] has the type \[Tuning\], which the local cloud does not run",
    ),
    "retry without a limit": ([retrying()], "needs either MaxAttempts or ExpireAfterMin"),
    "retry with both limits": (
        [retrying(MaxAttempts=1, ExpireAfterMin=1)],
        "needs either MaxAttempts or ExpireAfterMin",
    ),
    "retry of something unknown": (
        [processing("B", "", RetryPolicies=[{"ExceptionType": ["Bad"], "MaxAttempts": 1}])],
        r"\[B\] retries on \[Bad\]: not known",
    ),
    "JsonGet in a Fail message": (
        [A, fail("No", join("x", json_get("A", "F", "p")))],
        r"Fail step \[No\]: its message can join parameters and properties only",
    ),
    "a list as a Lambda's input": (
        [invoke("Ask", "f", names=["a"])],
        r"Lambda step \[Ask\]: input \[names\] is no flat value",
    ),
    "an object as a Lambda's input": ([invoke("Ask", "f", names={"a": 1})], "is no flat value"),
    "a Lambda without a function": (
        [{"Name": "Ask", "Type": "Lambda", "Arguments": {}}],
        r"Lambda step \[Ask\] names no FunctionArn",
    ),
    "a number as hyperparameter": (
        [training("T", "", hyperparameters={"n": 3})],
        r"Training step \[T\]: hyperparameter \[n\] must be text",
    ),
    "unknown condition": (
        [condition("Gate", compare("Like", 1, 1))],
        r"unknown condition \[Like\]",
    ),
    "unknown condition inside": (
        [condition("Gate", {"Type": "Not", "Condition": compare("Like", 1, 1)})],
        r"unknown condition \[Like\]",
    ),
    "no conditions": ([condition("Gate")], r"Condition step \[Gate\] has no conditions"),
    "unknown function": (
        [processing("B", "", arguments=({"Std:Upper": "x"},))],
        r"uses the unknown function \[Std:Upper\]",
    ),
    "join without values": (
        [processing("B", "", arguments=({"Std:Join": {"On": "/"}},))],
        "has a Std:Join without Values",
    ),
    "a path that is an expression": (
        [A, condition("Gate", compare("Equals", json_get("A", "F", get("Parameters.X")), 1))],  # type: ignore[arg-type]
        "whose Path is no text",
    ),
    "cache expiry": (
        [processing("B", "", CacheConfig={"Enabled": True, "ExpireAfter": "30 days"})],
        r"cache expiry \[30 days\]",
    ),
    "a list as a step": ([["A"]], "not well formed"),
    "a number as a step's name": ([{"Name": 1, "Type": "Fail"}], "not well formed"),
}
PARAMETERS: dict[str, tuple[list[Document], str]] = {
    "bad name": ([parameter("a b", "String")], r"Parameter name \[a b\] must match"),
    "duplicate": (
        [parameter("X", "String"), parameter("X", "Float")],
        r"Parameter \[X\] is defined twice",
    ),
    "unknown type": ([parameter("X", "List")], r"Parameter \[X\] has the unknown type \[List\]"),
    "text for a number": ([parameter("X", "Integer", "1")], r"default \[1\], which is no Integer"),
    "fraction for a whole": ([parameter("X", "Integer", 1.5)], "which is no Integer"),
    "truth for a number": ([parameter("X", "Integer", True)], "which is no Integer"),
    "number for text": ([parameter("X", "String", 1)], "which is no String"),
    "number for truth": ([parameter("X", "Boolean", 1)], "which is no Boolean"),
    "default not allowed": (
        [parameter("X", "String", "c", EnumValues=["a", "b"])],
        r"default \[c\], not in its EnumValues",
    ),
    "too many": (
        [parameter(f"X{i}", "String", "") for i in range(201)],
        "201 parameters; at most 200",
    ),
}


def create(cloud: Cloud, text: str) -> str:
    name = unique("p")
    cloud.client("sagemaker").create_pipeline(
        PipelineName=name, RoleArn=ROLE, PipelineDefinition=text
    )
    return name


def assert_refused(cloud: Cloud, text: str, message: str) -> None:
    with pytest.raises(ClientError, match=message) as refused:
        create(cloud, text)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert "\n" not in refused.value.response["Error"]["Message"]


@pytest.mark.parametrize("case", REFUSED)
def test_upsert_refuses_steps_by_name(cloud: Cloud, case: str) -> None:
    steps, message = REFUSED[case]
    assert_refused(cloud, definition(*steps), message)


@pytest.mark.parametrize("case", PARAMETERS)
def test_upsert_refuses_parameters_by_name(cloud: Cloud, case: str) -> None:
    parameters, message = PARAMETERS[case]
    assert_refused(cloud, definition(A, parameters=tuple(parameters)), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", '"Version": "2020-12-01"'),
        ('{"Version": "2019-01-01", "Steps": []}', '"Version": "2020-12-01"'),
        ('{"Version": "2020-12-01", "Steps": {"a": 1}}', "not well formed"),
        ('{"Version": "2020-12-01", "Steps": 5}', "not well formed"),
        (definition(processing("A", "", environment={"X": "x" * 1_050_000})), "less than or equal"),
    ],
    ids=["no JSON", "a list", "version", "steps as object", "steps as number", "too large"],
)
def test_upsert_refuses_what_is_no_definition(cloud: Cloud, text: str, message: str) -> None:
    assert_refused(cloud, text, message)


def test_an_update_that_is_refused_leaves_the_old_definition(cloud: Cloud) -> None:
    name, client = create(cloud, definition(A)), cloud.client("sagemaker")
    with pytest.raises(ClientError, match="has no steps"):
        client.update_pipeline(PipelineName=name, PipelineDefinition=definition())
    kept = client.describe_pipeline(PipelineName=name)["PipelineDefinition"]
    assert json.loads(kept) == json.loads(definition(A))


def test_a_definition_may_lie_on_s3(cloud: Cloud) -> None:
    client = cloud.client("sagemaker")
    bucket, _, key = cloud.put(definition(A)).removeprefix("s3://").partition("/")
    name = unique("p")
    place = {"Bucket": bucket, "ObjectKey": key}
    client.create_pipeline(PipelineName=name, RoleArn=ROLE, PipelineDefinitionS3Location=place)
    assert client.describe_pipeline(PipelineName=name)["PipelineDefinition"] == definition(A)
    with pytest.raises(ClientError, match="cannot be read") as refused:
        client.update_pipeline(
            PipelineName=name, PipelineDefinitionS3Location={**place, "ObjectKey": "none"}
        )
    assert refused.value.response["Error"]["Code"] == "ValidationException"


ACCEPTED = [
    A,
    ASK,
    training(
        "T",
        "",
        channels={"c": get("Steps.Ask.OutputParameters['uri']")},
        hyperparameters={"n": "3"},
    ),
    condition(
        "Gate",
        compare("LessThan", json_get("A", "F", "p"), get("Parameters.Most")),
        {"Type": "Or", "Conditions": [TRUE, TRUE]},
        then=(register("R", "g", get("Steps.T.ModelArtifacts.S3ModelArtifacts")),),
        otherwise=(fail("No", join(get("Parameters.Most"), get("Execution.PipelineName"))),),
    ),
]


def test_a_definition_without_faults_is_accepted(cloud: Cloud) -> None:
    create(cloud, definition(*ACCEPTED, parameters=(parameter("Most", "Float", 1),)))


@pytest.mark.skipif(not SCHEMA.exists(), reason="the published schema is not on this machine")
@pytest.mark.parametrize(
    "case",
    [
        "nested condition",
        "a Lambda in a branch",
        "bad step name",
        "long step name",
        "a step without a name",
        "unknown function",
        "a list as a step",
        "a number as a step's name",
    ],
)
def test_what_the_published_schema_refuses_is_refused(case: str) -> None:
    """Guards the cases above: each is a fault for AWS, too, and not only for us."""
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads(definition(*REFUSED[case][0]))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, json.loads(SCHEMA.read_text("utf-8")))
