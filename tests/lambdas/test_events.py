"""What the function makes of the messages in its queue."""

from __future__ import annotations

import json

import pytest

from lambdas.events import Approval, Ignored, MalformedEventError, Upload, parse
from lambdas.settings import LambdaSettings
from tests.lambdas.eventbridge import GROUP, RESULTS, UPLOADS, created, state_change

SETTINGS = LambdaSettings(GROUP, UPLOADS, RESULTS, "queue", "definition")


@pytest.mark.parametrize(
    "key",
    [
        "incoming/a.csv",
        "incoming/may 2025/a b.csv",
        "incoming/50%+tax%20.csv",
        "incoming/Schäden/損害.csv",
        "incoming//leading.csv",
    ],
)
def test_a_key_is_taken_as_it_is(key: str) -> None:
    assert parse(created(key, etag="e", **{"version-id": "v"}), SETTINGS) == Upload(
        UPLOADS, key, "v", "e", 5
    )


@pytest.mark.parametrize("version", [{}, {"version-id": "null"}, {"version-id": None}])
def test_without_versioning_the_etag_tells_contents_apart(version: dict[str, str]) -> None:
    first = parse(created("incoming/a.csv", etag="e1", **version), SETTINGS)
    second = parse(created("incoming/a.csv", etag="e2", **version), SETTINGS)
    assert isinstance(first, Upload) and isinstance(second, Upload)
    assert first.version == ""
    assert first.id != second.id


def test_the_same_content_written_twice_is_two_uploads_with_versioning() -> None:
    one, two = (parse(created("incoming/a", **{"version-id": v}), SETTINGS) for v in "12")
    assert isinstance(one, Upload) and isinstance(two, Upload)
    assert one.id != two.id


def test_an_approval_of_our_group_is_recognised() -> None:
    assert parse(state_change("arn:1"), SETTINGS) == Approval("arn:1")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (created("results/a.csv"), "Object Created"),
        (created("incoming/a.csv", bucket="another"), "Object Created"),
        (created("incoming/folder/", size=0), "Object Created"),
        (created("incoming/a.csv").replace("Object Created", "Object Deleted"), "Object Deleted"),
        (state_change("arn", "Rejected"), "SageMaker Model Package State Change"),
        (state_change("arn", group="another"), "SageMaker Model Package State Change"),
        (json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}), "s3:TestEvent"),
        ("{}", "unknown"),
    ],
)
def test_what_is_not_for_us_is_ignored_by_name(body: str, name: str) -> None:
    ignored = parse(body, SETTINGS)
    assert isinstance(ignored, Ignored)
    assert ignored.name == name
    assert ignored.reason


def test_suffixes_are_a_setting() -> None:
    settings = LambdaSettings.from_environment(
        {
            "MODEL_PACKAGE_GROUP": GROUP,
            "UPLOAD_BUCKET": UPLOADS,
            "RESULTS_BUCKET": RESULTS,
            "JOB_QUEUE": "queue",
            "JOB_DEFINITION": "definition",
            "INCOMING_SUFFIXES": ".csv, .jsonl",
        }
    )
    assert isinstance(parse(created("incoming/a.jsonl"), settings), Upload)
    assert isinstance(parse(created("incoming/a.pdf"), settings), Ignored)
    assert isinstance(parse(created("incoming/a.pdf"), SETTINGS), Upload)


def test_missing_settings_are_all_named() -> None:
    with pytest.raises(KeyError, match="UPLOAD_BUCKET, RESULTS_BUCKET, JOB_DEFINITION"):
        LambdaSettings.from_environment({"MODEL_PACKAGE_GROUP": "g", "JOB_QUEUE": "q"})


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[]",
        "7",
        created("incoming/a").replace('"key"', '"kee"'),
        created("incoming/a").replace('"etag"', '"tag"'),
        created("incoming/a").replace('"detail": {', '"other": {'),
        created("incoming/a", size="many"),
        state_change("arn").replace("ModelPackageArn", "Arn"),
    ],
)
def test_a_broken_event_of_ours_is_an_error_not_silence(body: str) -> None:
    with pytest.raises(MalformedEventError):
        parse(body, SETTINGS)
