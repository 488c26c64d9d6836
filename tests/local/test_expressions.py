"""`Get`, `Std:Join`, `Std:JsonGet` and conditions: what they mean, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.local.expressions import ExpressionError, Scope, references, walk
from tests.local.local_cloud import compare, get, join, json_get

REPORT = {
    "accuracy": 0.9,
    "classes": [{"name": "a", "f1": 0.5}],
    "a.b": 1,
    "none": None,
    "ok": True,
}


@pytest.fixture
def scope() -> Scope:
    outputs = [{"OutputName": "report", "S3Output": {"S3Uri": "s3://b/report"}}]
    return Scope(
        {"Text": "x", "Count": 3, "Rate": 0.5, "Flag": True, "Empty": ""},
        {"PipelineName": "p", "PipelineExecutionId": "id"},
        {
            "Evaluate": {"ProcessingOutputConfig": {"Outputs": outputs}},
            "Ask": {"OutputParameters": {"uri": "s3://c", "version": 7}},
        },
        lambda step, name: {("Evaluate", "Report"): REPORT}[step, name],
        {"s3://b/x.json": {"deep": [1, 2]}}.__getitem__,
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain", "plain"),
        (get("Parameters.Text"), "x"),
        (get("Parameters.Count"), 3),
        (get("Parameters.Flag"), True),
        (get("Parameters.Empty"), ""),
        (get("Execution.PipelineName"), "p"),
        (get("Steps.Ask.OutputParameters['uri']"), "s3://c"),
        (
            get("Steps.Evaluate.ProcessingOutputConfig.Outputs['report'].S3Output.S3Uri"),
            "s3://b/report",
        ),
        (get("Steps.Evaluate.ProcessingOutputConfig.Outputs[0].OutputName"), "report"),
        (join("a", get("Parameters.Count"), "b", on="/"), "a/3/b"),
        (join("v", join(get("Parameters.Rate"), get("Parameters.Flag"), on="-")), "v0.5-True"),
        (join(), ""),
        (json_get("Evaluate", "Report", "classes[0].f1"), 0.5),
        (json_get("Evaluate", "Report", "classes[-1].name"), "a"),
        (json_get("Evaluate", "Report", "['a.b']"), 1),
        ({"Std:JsonGet": {"S3Uri": join("s3://b/", "x.json"), "Path": "deep[1]"}}, 2),
        ({"a": [{"b": get("Parameters.Text")}], "c": 1}, {"a": [{"b": "x"}], "c": 1}),
    ],
)
def test_an_expression_becomes_what_it_stands_for(scope: Scope, value: Any, expected: Any) -> None:
    resolved = scope.resolve(value)
    assert resolved == expected and type(resolved) is type(expected)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (get("Parameters.Other"), "Parameters.Other: not known"),
        (get("Execution.Other"), "Execution.Other: not known"),
        (get("Steps.Never.x"), "step Never has not run"),
        (get("Steps.Ask.OutputParameters['other']"), "there is no other"),
        (get("Something.else"), "neither Parameters, Execution nor Steps"),
        (json_get("Evaluate", "Report", "classes[1]"), "there is no 1"),
        (json_get("Evaluate", "Report", "classes['0']"), "there is no 0"),
        (json_get("Evaluate", "Report", "accuracy.deep"), "there is no deep"),
        (json_get("Evaluate", "Report", "accuracy..f1"), "not a path"),
        (json_get("Evaluate", "Report", "classes[x]"), "not a path"),
        (json_get("Evaluate", "Report", "none"), "it has no value"),
        (join("a", json_get("Evaluate", "Report", "none")), "it has no value"),
    ],
)
def test_an_expression_that_names_nothing_is_an_error_that_names_it(
    scope: Scope, value: Any, message: str
) -> None:
    with pytest.raises(ExpressionError, match=r"^[^\n]*$") as error:
        scope.resolve(value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (compare("Equals", get("Parameters.Text"), "x"), True),
        (compare("Equals", get("Parameters.Flag"), True), True),
        (compare("GreaterThan", get("Parameters.Count"), 3), False),
        (compare("GreaterThanOrEqualTo", get("Parameters.Count"), 3), True),
        (compare("LessThan", get("Parameters.Rate"), 1), True),
        (compare("LessThanOrEqualTo", 0.51, get("Parameters.Rate")), False),
        ({"Type": "In", "QueryValue": get("Parameters.Count"), "Values": [1, 2]}, False),
        (
            {"Type": "In", "QueryValue": "x", "Values": ["y", get("Parameters.Text")]},
            True,
        ),
        ({"Type": "Not", "Condition": compare("Equals", 1, 1)}, False),
        (
            {"Type": "Or", "Conditions": [compare("Equals", 1, 2), compare("Equals", 1, 1)]},
            True,
        ),
        ({"Type": "Or", "Conditions": [compare("Equals", 1, 2)]}, False),
    ],
)
def test_a_condition_holds_or_not(scope: Scope, condition: Any, expected: bool) -> None:
    assert scope.all_hold([condition]) is expected
    assert scope.all_hold([compare("Equals", 1, 1), condition]) is expected


@pytest.mark.parametrize(
    "condition",
    [
        compare("Equals", 1, "1"),
        compare("Equals", 1, 1.0),  # as the SDK's executor does it
        compare("LessThan", "1", 2),
        {"Type": "Not", "Condition": compare("GreaterThan", True, "x")},
    ],
)
def test_what_cannot_be_compared_is_an_error(scope: Scope, condition: Any) -> None:
    with pytest.raises(ExpressionError, match="cannot compare"):
        scope.all_hold([condition])


def test_what_a_file_holds_is_never_taken_for_an_expression() -> None:
    hostile = {"value": {"Get": "Parameters.Secret"}}
    scope = Scope({"Secret": "s"}, {}, {}, lambda *_: hostile, lambda _: hostile)
    read = json_get("Evaluate", "Report", "value")
    assert scope.resolve({"a": read}) == {"a": {"Get": "Parameters.Secret"}}
    assert not scope.all_hold([{"Type": "In", "QueryValue": "s", "Values": [read]}])


def test_every_reference_is_found_however_deep() -> None:
    value = {"a": [join(get("Parameters.A"), join(get("Steps.B.c")))], "b": json_get("C", "F", "x")}
    assert list(references(value)) == ["Parameters.A", "Steps.B.c", "Steps.C.PropertyFiles.F"]


def test_a_path_indexes_outputs_inputs_and_channels_by_name() -> None:
    document = {"Outputs": [{"OutputName": "a"}, {"InputName": "b"}, {"ChannelName": "c", "x": 1}]}
    assert walk(document, "Outputs['c'].x", "shown") == 1
