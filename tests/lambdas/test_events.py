"""What the function makes of the messages in its queue."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.events import (
    Approval,
    Event,
    Ignored,
    MalformedEventError,
    Retry,
    Upload,
    announcement,
    parse,
)
from lambdas.settings import SubmitSettings
from tests.lambdas.eventbridge import (
    GROUP,
    MODELS,
    RESULTS,
    UPLOADS,
    created,
    notification,
    retry,
    state_change,
)

SETTINGS = SubmitSettings(
    GROUP, MODELS, UPLOADS, RESULTS, "queue", "definition", "https://sqs/dead", 5
)


def parse_one(body: str, settings: SubmitSettings = SETTINGS) -> Event:
    (event,) = parse(body, settings)
    return event


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
    assert parse_one(created(key, etag="e", **{"version-id": "v"})) == Upload(
        UPLOADS, key, "v", "e", 5
    )


@pytest.mark.parametrize("version", [{}, {"version-id": "null"}, {"version-id": None}])
def test_without_versioning_the_etag_tells_contents_apart(version: dict[str, str]) -> None:
    first = parse_one(created("incoming/a.csv", etag="e1", **version))
    second = parse_one(created("incoming/a.csv", etag="e2", **version))
    assert isinstance(first, Upload) and isinstance(second, Upload)
    assert first.version == ""
    assert first.id != second.id


def test_the_same_content_written_twice_is_two_uploads_with_versioning() -> None:
    one, two = (parse_one(created("incoming/a", **{"version-id": v})) for v in "12")
    assert isinstance(one, Upload) and isinstance(two, Upload)
    assert one.id != two.id


def test_an_approval_of_our_group_is_recognised() -> None:
    assert parse_one(state_change("arn:1", version=4)) == Approval("arn:1", 4)


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
    ignored = parse_one(body)
    assert isinstance(ignored, Ignored)
    assert ignored.name == name
    assert ignored.reason


def test_suffixes_are_a_setting() -> None:
    settings = dataclasses.replace(SETTINGS, incoming_suffixes=(".csv", ".jsonl"))
    assert isinstance(parse_one(created("incoming/a.jsonl"), settings), Upload)
    assert isinstance(parse_one(created("incoming/a.pdf"), settings), Ignored)
    assert isinstance(parse_one(created("incoming/a.pdf")), Upload)


@pytest.mark.parametrize(
    "reason", ["PutObject", "CompleteMultipartUpload", "CopyObject", "POST Object"]
)
def test_an_object_is_an_upload_however_it_was_put(reason: str) -> None:
    event = json.loads(created("incoming/a.csv", **{"version-id": "v"}))
    event["detail"]["reason"] = reason
    upload = parse_one(json.dumps(event))
    assert upload == parse_one(created("incoming/a.csv", **{"version-id": "v"}))


def test_the_etag_of_a_multipart_upload_is_taken_as_it_is() -> None:
    upload = parse_one(created("incoming/a.csv", etag="9b2cf535f27731c974343645a3985328-17"))
    assert isinstance(upload, Upload)
    assert upload.etag == "9b2cf535f27731c974343645a3985328-17"


def test_each_record_of_s3s_own_notification_is_an_event_and_its_key_is_decoded() -> None:
    body = notification("incoming/a+b%2Bc%25.csv", "incoming/Sch%C3%A4den.csv", "elsewhere/x")
    first, second, third = parse(body, SETTINGS)
    assert first == Upload(UPLOADS, "incoming/a b+c%.csv", "", "e1", 5)
    assert isinstance(second, Upload)
    assert second.key == "incoming/Schäden.csv"
    assert isinstance(third, Ignored)


def test_a_deletion_in_s3s_own_notification_is_ignored() -> None:
    body = notification("incoming/a.csv").replace(
        "Created:CompleteMultipartUpload", "Removed:Delete"
    )
    assert isinstance(parse_one(body), Ignored)


@pytest.mark.parametrize("more", [{}, {"attempt": 2}])
def test_a_retry_names_an_upload_and_perhaps_the_attempt_that_failed(more: dict[str, int]) -> None:
    assert parse_one(retry("0" * 32, **more)) == Retry("0" * 32, more.get("attempt"))


KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


@given(KEYS, st.sampled_from(["", "v1"]), st.integers(1, 2**40))
def test_the_announcement_of_an_upload_is_read_as_that_upload(
    name: str, version: str, size: int
) -> None:
    upload = Upload(UPLOADS, f"incoming/{name}", version, "e1", size)
    body = announcement(upload)
    assert body.isascii(), "SQS refuses some characters"
    assert parse(body, SETTINGS) == [upload]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "source",
                        "detail-type",
                        "detail",
                        "object",
                        "bucket",
                        "key",
                        "Records",
                        "upload_id",
                        "name",
                        "s3",
                        "eventSource",
                        "eventName",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_whatever_comes_is_read_or_refused_by_name(body: Any) -> None:
    for given_body in (body, {"source": "aws.s3", "detail-type": "Object Created", "detail": body}):
        with contextlib.suppress(MalformedEventError):
            parse(json.dumps(given_body), SETTINGS)


@pytest.mark.parametrize(
    "body",
    [
        "not JSON",
        "[]",
        created("incoming/\ud800"),
        "7",
        created("incoming/a").replace('"key"', '"kee"'),
        created("incoming/a").replace('"etag"', '"tag"'),
        created("incoming/a").replace('"detail": {', '"other": {'),
        created("incoming/a", size="many"),
        state_change("arn").replace("ModelPackageArn", "Arn"),
        retry("../submissions"),
        retry("0" * 31),
        retry("0" * 32).replace(f'"{"0" * 32}"', "7"),
        retry("0" * 32, attempt="two"),
        notification("incoming/a.csv").replace('"key"', '"kee"'),
        json.dumps({"Records": [7]}),
        "[" * 100_000,
        created("incoming/a", size=1).replace('"size": 1', '"size": 1e999'),
        created("incoming/a", **{"version-id": "\ud800"}),
        created("incoming/a", etag="\ud800"),
        retry("0" * 32, attempt=1).replace('"attempt": 1', '"attempt": 1e999'),
    ],
    ids=range(20),
)
def test_a_broken_event_of_ours_is_an_error_not_silence(body: str) -> None:
    with pytest.raises(MalformedEventError):
        parse(body, SETTINGS)
