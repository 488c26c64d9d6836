"""Asking for a retraining, judging what came of it, and telling it; on a real local cloud, with
functions and pipelines made of small scripts. The whole of it is in tests/test_retraining.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.aws import Aws
from pipelines.bars import judged
from pipelines.cli.retrain import command
from pipelines.diagnosis import Diagnosis
from pipelines.errors import UserError
from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.job_costs import PRICES, JobCost
from pipelines.retraining import (
    Decision,
    FunctionFailedError,
    Report,
    Request,
    Retraining,
)
from pipelines.retraining_summary import document, headline, markdown, next_step
from pipelines.settings import Settings
from pipelines.symptoms import STOPPED, UNKNOWN, Cause
from tests.local.local_cloud import (
    ACCOUNT,
    OK,
    REGION,
    ROLE,
    Cloud,
    compare,
    condition,
    definition,
    fail,
    folder,
    get,
    json_get,
    parameter,
    processing,
    register,
    training,
    unique,
    zipped,
)

EXECUTION = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/p/execution/abcdefabcdef"
DECISION = Decision(
    outcome="started",
    execution=EXECUTION,
    data_version="0123456789abcdef",
    manifest="s3://data/versions/0123456789abcdef/manifest.json",
    changes=["data: 2 files and 1,200 rows more"],
)
CHALLENGER = {
    "accuracy": 0.91,
    "macro_f1": 0.9,
    "weighted_f1": 0.91,
    "worst_class_recall": 0.7,
    "calibration_error": 0.02,
}
COMPARISON = {
    "has_champion": True,
    "regression": -0.01,
    "regression_low": -0.02,
    "regression_high": -0.001,
    "p_value": 0.03,
    "only_challenger_right": 31,
    "only_champion_right": 11,
    "macro_f1": {"difference": 0.02, "low": 0.01, "high": 0.03},
    "classes": {
        "fire": {"challenger": 0.9, "champion": 0.8, "support": 50},
        "water": {"challenger": 0.7, "champion": 0.75, "support": 20},
    },
}
EVALUATION = {
    "challenger": CHALLENGER,
    "champion": {**CHALLENGER, "accuracy": 0.9},
    "comparison": COMPARISON,
}


def retraining(cloud: Cloud, handler: str | None = None) -> Retraining:
    """A deployment of its own, whose function has this body."""
    settings = Settings(project=unique("r"), account=ACCOUNT, region=REGION)
    if handler:
        cloud.client("lambda").create_function(
            FunctionName=settings.function_name("retrain"),
            Runtime="python3.11",
            Role=ROLE,
            Handler="module.handler",
            Code={"ZipFile": zipped(handler)},
        )
    return Retraining(Aws(settings, cloud.variables))


def test_the_function_is_asked_for_all_that_was_given_and_its_answer_is_read(cloud: Cloud) -> None:
    source = (
        "import json\n"
        "def handler(event, context):\n"
        "    return {'outcome': 'running', 'execution': 'arn', 'data_version': 'v',"
        " 'manifest': 'm', 'changes': [json.dumps(event, sort_keys=True)],"
        " 'previous': None, 'previous_outcome': None}"
    )
    request = Request("push", "abc", {"Epochs": "5"}, again=True)
    decision = retraining(cloud, source).ask(request)
    assert decision.outcome == "running"
    assert json.loads(decision.changes[0]) == {
        "cause": "push",
        "commit": "abc",
        "parameters": {"Epochs": "5"},
        "again": True,
    }


def test_an_error_of_the_users_is_his_in_one_line(cloud: Cloud) -> None:
    source = (
        "class RetrainError(Exception): pass\n"
        "def handler(event, context): raise RetrainError('there is no\\nlabelled data')"
    )
    with pytest.raises(UserError, match=r"^there is no labelled data$"):
        retraining(cloud, source).ask(Request())


def test_an_error_of_the_function_is_no_error_of_the_users(cloud: Cloud) -> None:
    source = "def handler(event, context): raise KeyError('x')"
    with pytest.raises(FunctionFailedError, match=r"failed: KeyError: 'x'; its log is /aws/lambda"):
        retraining(cloud, source).ask(Request())


def test_a_deployment_without_the_function_says_how_to_get_it(cloud: Cloud) -> None:
    with pytest.raises(UserError, match=r"`claimflow deploy` makes it"):
        retraining(cloud).ask(Request())


def executed(cloud: Cloud, evaluation: dict[str, Any], min_accuracy: str) -> str:
    """Runs a pipeline that trains, evaluates to this, and registers or rejects; its execution."""
    group = unique("g")
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=group)
    text = json.dumps(evaluation)
    run = cloud.run(
        training("Train", "open('model/weights', 'w').write('1')", instances=1),
        processing(
            "Evaluate",
            f"open('processing/evaluation/evaluation.json', 'w').write({text!r})",
            outputs={"evaluation": folder()},
            files={"Report": ("evaluation", "evaluation.json")},
            DependsOn=["Train"],
        ),
        condition(
            "ModelGate",
            compare(
                "GreaterThanOrEqualTo",
                json_get("Evaluate", "Report", "challenger.accuracy"),
                get("Parameters.MinAccuracy"),
            ),
            then=(register("Register", group, get("Steps.Train.ModelArtifacts.S3ModelArtifacts")),),
            otherwise=(fail("ModelRejected", "not good enough"),),
        ),
        given={"MinAccuracy": min_accuracy},
        parameters=(
            parameter("MinAccuracy", "Float", 0.5),
            parameter("AllowedRegression", "Float", 0.005),
        ),
    )
    return str(run["PipelineExecutionArn"])


def test_a_registered_model_is_reported_with_its_version_bars_and_costs(cloud: Cloud) -> None:
    execution = executed(cloud, EVALUATION, "0.8")
    asked = retraining(cloud)
    report = asked.report(Request(), DECISION, asked.control.status(execution))
    assert (report.outcome, report.version) == ("registered", 1)
    assert report.approval == "PendingManualApproval"
    assert [bar.name for bar in report.bars] == ["MinAccuracy", "AllowedRegression"]
    assert [bar.bar for bar in report.bars] == [0.8, 0.005], "what was given, and the default"
    assert all(bar.passed for bar in report.bars)
    assert {cost.step: cost.instance_type for cost in report.costs} == {
        "Train": "ml.c5.2xlarge",
        "Evaluate": "ml.m5.large",
    }
    assert all(cost.dollars and cost.dollars > 0 for cost in report.costs)
    assert "claimflow model approve 1" in next_step(report)


def test_a_rejected_model_is_reported_with_what_it_missed(cloud: Cloud) -> None:
    execution = executed(cloud, EVALUATION, "0.99")
    asked = retraining(cloud)
    report = asked.report(Request(), DECISION, asked.control.status(execution))
    assert report.outcome == "rejected"
    assert "accuracy 0.9100 is below MinAccuracy 0.99 by 0.0800" in headline(report)
    assert "| MinAccuracy | 0.9100 | 0.9900 | **no** |" in markdown(report)


def test_a_run_that_broke_is_reported_as_failed_with_its_reason(cloud: Cloud) -> None:
    message = "The data did not pass validation: 3 nulls."
    script = f"open('output/message', 'w').write({message!r}); raise SystemExit(1)"
    run = cloud.run(processing("Validate", script), processing("X", OK))
    asked = retraining(cloud)
    report = asked.report(Request(), DECISION, asked.control.status(run["PipelineExecutionArn"]))
    assert report.outcome == "failed"
    assert report.evaluation is None
    assert "Failed at Validate" in headline(report)
    assert "claimflow pipeline diagnose" in next_step(report)
    assert "Likely the labelled data is not fit to learn from" in next_step(report)
    assert "pipeline retry" not in next_step(report), "it would read the same data"


def test_a_version_with_the_model_of_an_older_one_says_so(cloud: Cloud) -> None:
    asked = retraining(cloud)
    first, second = executed_twice(cloud)
    status = asked.control.status(second)
    report = asked.report(Request(again=True), DECISION, status)
    assert (report.version, report.same_as) == (2, 1)
    sentence = "Train was cached: this is the same model as version 1."
    assert sentence in markdown(report)
    assert document(report)["same_as"] == 1
    trained = asked.report(Request(), DECISION, asked.control.status(first))
    assert trained.same_as is None
    assert "Train was cached" not in markdown(trained)


def executed_twice(cloud: Cloud) -> tuple[str, str]:
    """Two executions of one pipeline; the second has every job from the cache."""
    group, name = unique("g"), unique("p")
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    text = definition(
        training(
            "Train",
            "open('model/weights', 'w').write('1')",
            instances=1,
            CacheConfig={"Enabled": True, "ExpireAfter": "P1D"},
        ),
        register("Register", group, get("Steps.Train.ModelArtifacts.S3ModelArtifacts")),
    )
    sagemaker.create_pipeline(PipelineName=name, RoleArn=ROLE, PipelineDefinition=text)
    first = cloud.start(name)
    assert cloud.finish(first)["PipelineExecutionStatus"] == "Succeeded"
    second = cloud.start(name)
    assert cloud.finish(second)["PipelineExecutionStatus"] == "Succeeded"
    return first, second


# What is told of it.


def told(**changes: Any) -> Report:
    status = ExecutionStatus(
        EXECUTION,
        "Succeeded",
        "",
        [StepStatus("Train", "TrainingJob", "Succeeded", is_cached=True)],
    )
    parameters = {"MinAccuracy": "0.8", "AllowedRegression": "0.005"}
    report = Report(
        Request("push", "abc"),
        DECISION,
        "registered",
        status,
        EVALUATION,
        judged(EVALUATION, parameters),
        [JobCost("Train", "job-1", "ml.c5.2xlarge", 2, 1800.0)],
        7,
        "PendingManualApproval",
    )
    return replace(report, **changes)


def test_the_summary_tells_cause_change_figures_and_what_to_do() -> None:
    text = markdown(told())
    assert text.startswith("## Retraining: version 7 is registered and waits for approval")
    for part in (
        "| cause | push |",
        "- data: 2 files and 1,200 rows more",
        "| Train | Succeeded (cached) |",
        "| accuracy | 0.9100 | 0.9000 | +0.0100 |",
        "only this model is right 31 times and only the champion 11 times",
        "p = 0.03",
        "claimflow model approve 7",
    ):
        assert part in text


def test_what_an_older_execution_has_settled_is_told_without_a_contradiction() -> None:
    settled = replace(DECISION, outcome="unchanged", previous=EXECUTION)
    text = markdown(told(decision=settled))
    assert "Nothing since this execution; since the newest:\n\n- data: 2 files" in text
    assert "before it" not in text, "it would be the execution itself"
    assert "had the same code and data" in settled.sentence
    assert "nothing has changed" in replace(settled, changes=[]).sentence
    assert "Train was cached" not in text, "nothing was asked to train"


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (UNKNOWN, "None of the usual causes fits: read the reason"),
        (STOPPED, "Likely somebody stopped it: `claimflow pipeline retry` goes on from here."),
    ],
)
def test_what_to_do_after_a_failure_is_the_advice_of_its_diagnosis(cause: Cause, said: str) -> None:
    diagnosis = Diagnosis(
        EXECUTION, "Failed", "Train", "x", cause.symptom, cause.cause, cause.advice
    )
    text = next_step(told(outcome="failed", diagnosis=diagnosis))
    assert text.startswith(said)
    assert "`claimflow pipeline diagnose abcdefabcdef` shows more" in text


def test_a_model_from_the_cache_is_told_as_such_though_no_version_tells_the_same() -> None:
    assert "the same model as that of an earlier execution" in markdown(told())


def test_the_execution_before_is_told_where_there_is_one() -> None:
    before = replace(DECISION, previous=f"{EXECUTION}0", previous_outcome="Failed")
    assert f"| before it | {EXECUTION}0 (Failed) |" in markdown(told(decision=before))


def test_the_classes_are_told_from_what_got_worse_to_what_got_better() -> None:
    lines = markdown(told()).splitlines()
    water, fire = (
        next(number for number, line in enumerate(lines) if line.startswith(f"| {label} |"))
        for label in ("water", "fire")
    )
    assert water < fire
    assert lines[water].endswith("| -0.0500 | worse |")
    assert lines[fire].endswith("| +0.1000 | better |")


def test_the_worst_and_the_best_of_very_many_classes_are_shown_once_each() -> None:
    classes = {
        f"c{number:03}": {"challenger": number / 200, "champion": 0.5, "support": 1}
        for number in range(100)
    }
    evaluation = {**EVALUATION, "comparison": {**COMPARISON, "classes": classes}}
    text = markdown(told(evaluation=evaluation))
    shown = [label for label in classes if text.count(f"| {label} |") == 1]
    assert shown == [*list(classes)[:15], *list(classes)[-15:]]
    assert "70 classes between them are left out" in text


def test_the_cost_is_machines_times_billed_hours_times_the_price() -> None:
    assert told().costs[0].dollars == pytest.approx(2 * 0.5 * PRICES["ml.c5.2xlarge"])
    text = markdown(told())
    assert "### Cost, an estimate" in text
    assert "| Train | 2 × ml.c5.2xlarge | 1800 s | $0.4080 |" in text


def test_a_machine_without_a_known_price_is_not_taken_for_free() -> None:
    costs = [JobCost("Train", "job-1", "ml.unheard.of", 1, 60.0)]
    assert "| no price known |" in markdown(told(costs=costs))
    assert document(told(costs=costs))["estimate"]["jobs"][0]["dollars"] is None


def test_links_lead_to_the_console_on_aws_and_nowhere_locally() -> None:
    assert "console.aws.amazon.com" not in markdown(told())
    link = "https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1#/jobs/job-1"
    assert f"[Train]({link})" in markdown(told(), "eu-west-1")


def test_a_reason_of_several_lines_stays_in_the_heading() -> None:
    failed = StepStatus("Train", "TrainingJob", "Failed", reason="<b>one\n\n# two")
    status = ExecutionStatus(EXECUTION, "Failed", "", [failed])
    text = markdown(told(outcome="failed", status=status))
    heading = text.splitlines()[0]
    assert heading == ("## Retraining: execution abcdefabcdef: Failed at Train: &lt;b>one # two")


def test_bars_at_their_defaults_are_judged_though_aws_may_list_only_what_was_given(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = executed(cloud, EVALUATION, "0.8")
    control = retraining(cloud).control
    whole = control.parameters(execution)
    assert (whole["MinAccuracy"], whole["AllowedRegression"]) == ("0.8", "0.005")

    class Given:
        def paginate(self, **_: str) -> list[dict[str, Any]]:
            return [{"PipelineParameters": [{"Name": "MinAccuracy", "Value": "0.8"}]}]

    monkeypatch.setattr(control._sagemaker, "get_paginator", lambda _: Given())
    assert control.parameters(execution) == whole


def test_a_summary_that_cannot_be_written_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "summary.md"
    with pytest.raises(FileNotFoundError):
        command.main(["--commit", "abc", "--summary", str(path)], standalone_mode=False)


def test_without_a_champion_there_is_nothing_to_compare() -> None:
    comparison = {**COMPARISON, "has_champion": False, "classes": {}}
    evaluation = {**EVALUATION, "champion": None, "comparison": comparison}
    text = markdown(told(evaluation=evaluation))
    assert "There is no champion yet." in text
    assert "### Classes" not in text


def test_an_evaluation_of_an_older_version_of_the_pipeline_is_told_as_far_as_it_goes() -> None:
    comparison = {"has_champion": True, "regression": -0.01}
    text = markdown(told(evaluation={**EVALUATION, "comparison": comparison}))
    assert "| accuracy | 0.9100 | 0.9000 | +0.0100 |" in text
    assert "McNemar" not in text


def test_the_document_for_programs_is_json_and_has_both_outcomes() -> None:
    found = json.loads(json.dumps(document(told()), default=str))
    assert (found["outcome"], found["decision"]) == ("registered", "started")
    assert found["data_version"] == DECISION.data_version
    assert found["version"] == 7


@given(st.text(min_size=1, max_size=40))
def test_no_label_breaks_out_of_its_cell(label: str) -> None:
    classes = {label: {"challenger": 0.5, "champion": 0.6, "support": 3}}
    evaluation = {**EVALUATION, "comparison": {**COMPARISON, "classes": classes}}
    lines = markdown(told(evaluation=evaluation)).splitlines()
    (row,) = [line for line in lines if line.endswith("| -0.1000 | worse |")]
    assert row.replace("\\|", "").count("|") == 7
    assert "<" not in row
