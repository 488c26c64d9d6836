"""The differences of definitions and templates, as a reviewer reads them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cli.definition_diff import command
from pipelines.definition_diff import differences, markdown, template_differences, write_diff
from pipelines.deployment.templates import read_template
from pipelines.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = (Path(__file__).parent / "golden" / "definition.json").read_text("utf-8")
Document = dict[str, Any]


def step(document: Document, name: str) -> Document:
    return next(one for one in document["Steps"] if one["Name"] == name)


def parameter(document: Document, name: str) -> Document:
    return next(one for one in document["Parameters"] if one["Name"] == name)


def gate(document: Document) -> Document:
    arguments: Document = step(document, "ModelGate")["Arguments"]
    return arguments


def changed(change: Callable[[Document], Any]) -> list[str]:
    """The sentences for a change of the pipeline's own definition."""
    new = json.loads(GOLDEN)
    change(new)
    return [one.sentence for one in differences(json.loads(GOLDEN), new)]


def test_the_same_definition_differs_in_nothing() -> None:
    assert changed(lambda _: None) == []
    assert "No difference." in write_diff(GOLDEN, GOLDEN)


def test_another_instance_type_by_its_setting_is_caught_with_the_step_that_runs_on_it() -> None:
    said = changed(
        lambda new: parameter(new, "TrainingInstanceType").update(DefaultValue="ml.p3.8xlarge")
    )
    assert said == [
        "parameter TrainingInstanceType: default `ml.c5.2xlarge` → `ml.p3.8xlarge` "
        "(instance type of Train)"
    ]


def test_another_instance_type_in_a_step_is_caught() -> None:
    said = changed(
        lambda new: step(new, "Train")["Arguments"]["ResourceConfig"].update(
            InstanceType="ml.p3.8xlarge"
        )
    )
    assert said == ["step Train: instance type `TrainingInstanceType` → `ml.p3.8xlarge`"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda new: step(new, "Validate")["Arguments"]["AppSpecification"].update(
                ImageUri="other@sha256:1"
            ),
            "step Validate: image `",
        ),
        (lambda new: parameter(new, "Epochs").update(DefaultValue=30), "default `0` → `30`"),
        (lambda new: new["Parameters"].remove(parameter(new, "Seed")), "Seed: **removed**"),
        (
            lambda new: new["Parameters"].append(
                {"Name": "Folds", "Type": "Integer", "DefaultValue": 5}
            ),
            "parameter Folds: added, default `5`",
        ),
        (
            lambda new: gate(new)["Conditions"][0].update(RightValue=0.5),
            "`challenger.accuracy of Evaluate ≥ MinAccuracy` → "
            "`challenger.accuracy of Evaluate ≥ 0.5`",
        ),
        (lambda new: gate(new)["Conditions"].pop(), "`Conditions` removed `"),
        (lambda new: gate(new)["IfSteps"].clear(), "**removed** (it was a RegisterModel step)"),
        (
            lambda new: new["Steps"].append({"Name": "Tell", "Type": "Lambda", "Arguments": {}}),
            "step Tell: added (Lambda)",
        ),
        (
            lambda new: step(new, "Train")["Arguments"].update(EnableManagedSpotTraining=False),
            "`EnableManagedSpotTraining` `true` → `false`",
        ),
        (lambda new: new.update(Version="2099-01-01"), "pipeline: `Version` `2020-12-01` → "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_change_of_the_definition_is_told(change: Callable[[Document], Any], told: str) -> None:
    assert any(told in sentence for sentence in changed(change))


def test_items_that_only_moved_are_no_difference_and_an_item_is_known_by_its_name() -> None:
    def reverse(new: Document) -> None:
        step(new, "Validate")["Arguments"]["ProcessingInputs"].reverse()
        step(new, "Validate")["Arguments"]["ProcessingInputs"][0]["S3Input"]["LocalPath"] = "/x"

    (said,) = changed(reverse)
    assert "ProcessingInputs.test.S3Input.LocalPath" in said


# Any definition that has lost, gained or changed something: never silently "no difference".
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(_VALUES, _VALUES)
def test_what_is_not_the_same_is_never_told_as_the_same(before: Any, after: Any) -> None:
    documents = [
        {"Steps": [{"Name": "A", "Type": "Training", "Arguments": {"x": value}}]}
        for value in (before, after)
    ]
    assert bool(differences(*documents)) == (documents[0] != documents[1])


def test_a_template_tells_its_resources_and_properties() -> None:
    old = read_template(ROOT / "ci" / "stack.yaml")
    new = copy.deepcopy(old)
    role = new["Resources"]["CiRole"]["Properties"]
    role["MaxSessionDuration"] = 3600
    statements = role["Policies"][0]["PolicyDocument"]["Statement"]
    next(one for one in statements if one["Sid"] == "PushesImages")["Action"].append("ecr:*")
    del new["Resources"]["DeployPolicy"]
    new["Resources"]["Queue"] = {"Type": "AWS::SQS::Queue"}
    said = markdown("ci/stack.yaml", template_differences(old, new))
    assert "**resource CiRole (AWS::IAM::Role)**" in said
    assert "`MaxSessionDuration` `7200` → `3600`" in said
    assert "Statement.PushesImages.Action` added `ecr:*`" in said
    assert "**resource DeployPolicy (AWS::IAM::RolePolicy)**: **removed**" in said
    assert "**resource Queue (AWS::SQS::Queue)**: added" in said


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "not json", b"\xff\xfe{"),
        *('{"Steps": 3}', '{"Steps": [{}]}', '{"Steps": [], "Parameters": [{"Name": 3}]}'),
    ],
)
def test_what_is_no_definition_is_refused_in_one_line(text: str | bytes) -> None:
    with pytest.raises(UserError, match="claimflow pipeline definition") as caught:
        write_diff(text, GOLDEN)
    assert "\n" not in str(caught.value)


def test_the_command_writes_a_file_for_a_comment(tmp_path: Path) -> None:
    old, new, comment = (tmp_path / name for name in ("old.json", "new.json", "comment.md"))
    old.write_text(GOLDEN)
    new.write_text(GOLDEN.replace("ml.c5.2xlarge", "ml.c5.4xlarge"))
    done = CliRunner().invoke(command, [str(old), str(new), "--markdown", str(comment)])
    assert done.exit_code == 0
    assert "`ml.c5.2xlarge` → `ml.c5.4xlarge`" in comment.read_text("utf-8")
