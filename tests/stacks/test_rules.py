"""What happens reaches the queue that it should, and nothing else does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from moto.events.models import EventPattern

from pipelines.images import ROOT
from pipelines.settings import Settings
from tests.stacks.conftest import Deployed, deploy

_HERE = "eu-central-1:123456789012"
_UPLOADS = "claimflow-prod-predictions-123456789012-eu-central-1"
_RESULTS = "claimflow-prod-results-123456789012-eu-central-1"
_DATA = "claimflow-prod-data-123456789012-eu-central-1"
_QUEUE = f"arn:aws:batch:{_HERE}:job-queue/claimflow-prod-predict"


def _event(source: str, kind: str, detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "0",
        "id": "2d4eba74-fd51-3966-4bfa-b013c9da8ff1",
        "detail-type": kind,
        "source": source,
        "account": "123456789012",
        "time": "2026-11-13T00:00:59Z",
        "region": "eu-central-1",
        "resources": [],
        "detail": detail,
    }


def _created(bucket: str, key: str, reason: str = "PutObject") -> dict[str, Any]:
    return _event(
        "aws.s3",
        "Object Created",
        {
            "version": "0",
            "bucket": {"name": bucket},
            "object": {
                "key": key,
                "size": 5,
                "etag": "b1946ac9",
                "version-id": "IYV3",
                "sequencer": "0",
            },
            "request-id": "N4N7GDK58NMKJ12R",
            "requester": "123456789012",
            "source-ip-address": "1.2.3.4",
            "reason": reason,
        },
    )


def _package(status: str, group: str = "claimflow-prod") -> dict[str, Any]:
    arn = f"arn:aws:sagemaker:{_HERE}:model-package/{group}/3"
    return _event(
        "aws.sagemaker",
        "SageMaker Model Package State Change",
        {
            "ModelPackageGroupName": group,
            "ModelPackageVersion": 3,
            "ModelPackageArn": arn,
            "ModelPackageStatus": "Completed",
            "ModelApprovalStatus": status,
        },
    )


def _job(status: str, *, queue: str = _QUEUE, **more: Any) -> dict[str, Any]:
    return _event(
        "aws.batch",
        "Batch Job State Change",
        {
            "jobArn": f"arn:aws:batch:{_HERE}:job/4c7599ae",
            "jobName": "predict-0123",
            "jobId": "4c7599ae",
            "jobQueue": queue,
            "status": status,
            "attempts": [],
            "retryStrategy": {"attempts": 3},
            "jobDefinition": f"arn:aws:batch:{_HERE}:job-definition/claimflow-prod-predict:1",
            **more,
        },
    )


def _alarm(name: str, state: str) -> dict[str, Any]:
    return _event(
        "aws.cloudwatch",
        "CloudWatch Alarm State Change",
        {
            "alarmName": name,
            "state": {"value": state, "timestamp": "2026-11-13T00:00:59.000+0000"},
            "previousState": {"value": "OK", "timestamp": "2026-11-13T00:00:00.000+0000"},
            "configuration": {"metrics": []},
        },
    )


PARENT: dict[str, Any] = {
    "arrayProperties": {"size": 3, "statusSummary": {"FAILED": 1, "SUCCEEDED": 2}}
}
CHILD: dict[str, Any] = {"arrayProperties": {"index": 2}}


@pytest.mark.parametrize(
    ("event", "rules"),
    [
        (_created(_UPLOADS, "incoming/claims.csv"), {"upload"}),
        (_created(_UPLOADS, "incoming/a/b.csv", "CompleteMultipartUpload"), {"upload"}),
        (_created(_UPLOADS, "elsewhere/claims.csv"), set()),
        (_created("another-bucket", "incoming/claims.csv"), set()),
        (_created(_RESULTS, "results/claims.csv/0123/manifest.json"), {"settled"}),
        (_created(_RESULTS, "results/a/b.csv/0123/retry-2/manifest.json"), {"settled"}),
        (_created(_RESULTS, "results/claims.csv/0123/predictions.csv"), set()),
        (_created(_RESULTS, "results/manifest.json.csv/0123/rejects.csv"), set()),
        (_created(_RESULTS, "submissions/0123.json"), set()),
        (_created(_RESULTS, "shards/0123/1/0/manifest.json"), set()),
        (_package("Approved"), {"approval"}),
        (_package("PendingManualApproval"), {"registered"}),
        (_package("Rejected"), set()),
        (_package("Approved", "claimflow-dev"), set()),
        (_package("PendingManualApproval", "claimflow-dev"), set()),
        (_created(_DATA, "labelled/train/new.csv"), {"labelled"}),
        (_created(_DATA, "labelled/test/new.csv", "CompleteMultipartUpload"), {"labelled"}),
        (_created(_DATA, "versions/0123/train/0001-new.csv", "CopyObject"), set()),
        (_created(_DATA, "code/0123.zip"), set()),
        (_created(_UPLOADS, "labelled/train/new.csv"), set()),
        (_alarm("claimflow-prod-prediction-drift", "ALARM"), {"drift"}),
        (_alarm("claimflow-prod-prediction-drift", "OK"), set()),
        (_alarm("claimflow-prod-prediction-drift", "INSUFFICIENT_DATA"), set()),
        (_alarm("claimflow-dev-prediction-drift", "ALARM"), set()),
        (_alarm("claimflow-prod-waiting", "ALARM"), set()),
        (_job("FAILED"), {"failed-job"}),
        (_job("FAILED", **PARENT), {"failed-job"}),
        (_job("FAILED", **CHILD), set()),
        (_job("SUCCEEDED"), set()),
        (_job("FAILED", queue=_QUEUE.replace("prod", "dev")), set()),
    ],
)
def test_an_event_takes_the_way_that_it_should(
    everything: Deployed, event: dict[str, Any], rules: set[str]
) -> None:
    matching = {
        rule.properties["Name"].removeprefix("claimflow-prod-")
        for rule in everything.of("AWS::Events::Rule")
        if "EventPattern" in rule.properties
        and EventPattern.load(json.dumps(rule.properties["EventPattern"])).matches_event(event)
    }
    assert matching == rules


def test_each_rule_is_on_and_leads_somewhere(everything: Deployed) -> None:
    queues = "arn:aws:sqs:eu-central-1:123456789012:claimflow-prod"
    ways = {}
    for rule in everything.of("AWS::Events::Rule"):
        assert rule.properties["State"] == "ENABLED", rule
        (target,) = rule.properties["Targets"]
        ways[rule.properties["Name"].removeprefix("claimflow-prod-")] = target["Arn"]
    assert ways == {
        "upload": f"{queues}-uploads",
        "approval": f"{queues}-uploads",
        "settled": f"{queues}-notices",
        "failed-job": f"{queues}-notices",
        "labelled": f"{queues}-labelled",
        "drift": f"{queues}-labelled",
        "registered": f"{queues}-registered",
        "sweep": "arn:aws:lambda:eu-central-1:123456789012:function:claimflow-prod-sweep",
        "retrain": "arn:aws:lambda:eu-central-1:123456789012:function:claimflow-prod-retrain",
    }


def test_a_schedule_and_new_data_start_a_retraining_if_the_settings_say_so(
    settings: Settings, everything: Deployed, least: Deployed
) -> None:
    def names(deployed: Deployed) -> set[str]:
        return {one.id for one in deployed.resources if one.room == "ci"}

    assert "LabelledRule" in names(least)
    assert not names(least) & {"RetrainRule", "RetrainPermission"}
    assert "LabelledRule" not in names(deploy(settings, RetrainOnData="false"))
    (target,) = everything.one("RetrainRule").properties["Targets"]
    assert everything.one("RetrainRule").properties["ScheduleExpression"] == "rate(7 days)"
    assert json.loads(target["Input"]) == {"cause": "schedule"}


def test_the_drift_that_is_heard_is_the_one_that_notify_measures(everything: Deployed) -> None:
    alarm = everything.one("PredictionDriftAlarm").properties
    assert f'"{alarm["MetricName"]}"' in (ROOT / "lambdas" / "notify.py").read_text("utf-8")
    assert alarm["Namespace"] == "claimflow"
    assert alarm["Dimensions"] == [{"Name": "Deployment", "Value": "claimflow-prod"}]
    assert alarm["Threshold"] == "0.25"


def test_buckets_tell_what_the_rules_listen_for(everything: Deployed) -> None:
    telling = {
        bucket.properties["BucketName"]
        for bucket in everything.of("AWS::S3::Bucket")
        if bucket.properties.get("NotificationConfiguration")
        == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
    }
    assert {_UPLOADS, _RESULTS, _DATA} <= telling


def test_a_scheduled_function_may_be_called_by_its_rule_only(everything: Deployed) -> None:
    allowed = {}
    for permission in everything.of("AWS::Lambda::Permission"):
        given = permission.properties
        assert given["SourceAccount"] == "123456789012", permission
        allowed[given["FunctionName"]] = given["SourceArn"]
    rules = f"arn:aws:events:{_HERE}:rule/claimflow-prod"
    assert allowed == {
        "claimflow-prod-sweep": f"{rules}-sweep",
        "claimflow-prod-retrain": f"{rules}-retrain",
    }


def test_each_queue_of_events_has_its_function(everything: Deployed) -> None:
    ways = {}
    for source in everything.of("AWS::Lambda::EventSourceMapping"):
        given = source.properties
        assert given["FunctionResponseTypes"] == ["ReportBatchItemFailures"], source
        assert given["ScalingConfig"]["MaximumConcurrency"] >= 2, source  # Lambda's least
        ways[given["EventSourceArn"].rpartition(":")[2]] = given["FunctionName"]
    assert ways == {
        "claimflow-prod-uploads": "claimflow-prod-submit",
        "claimflow-prod-notices": "claimflow-prod-notify",
        "claimflow-prod-labelled": "claimflow-prod-retrain",
        "claimflow-prod-registered": "claimflow-prod-approve",
    }


def test_a_message_stays_hidden_while_its_function_may_work_on_it(everything: Deployed) -> None:
    functions = {
        one.properties["FunctionName"]: one for one in everything.of("AWS::Lambda::Function")
    }
    queues = {one.properties["QueueName"]: one for one in everything.of("AWS::SQS::Queue")}
    for source in everything.of("AWS::Lambda::EventSourceMapping"):
        queue = queues[source.properties["EventSourceArn"].rpartition(":")[2]]
        function = functions[source.properties["FunctionName"]]
        timeout = function.properties["Timeout"]
        assert queue.properties["VisibilityTimeout"] >= 6 * timeout, queue  # as Lambda advises
        environment = function.properties["Environment"]["Variables"]
        assert environment["MAX_RECEIVES"] == str(
            queue.properties["RedrivePolicy"]["maxReceiveCount"]
        )
