"""Documents on S3: written once, and one that is damaged is told by its address."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdas.objects import BeingWrittenError, UnreadableError, create_json, put_json, read_json
from tests.lambdas.fakes import FakeS3, client_error


@pytest.fixture
def s3() -> Any:
    return FakeS3(lambda: datetime.now(timezone.utc))


def test_who_is_first_decides_what_a_document_says(s3: Any) -> None:
    assert create_json(s3, "b", "k", {"by": "ü"}) == {"by": "ü"}
    assert create_json(s3, "b", "k", {"by": "another"}) == {"by": "ü"}
    assert read_json(s3, "b", "k") == {"by": "ü"}


def test_a_repeated_write_finds_its_own(s3: Any) -> None:
    s3.call = lambda name, effect: (name == "put_object" and effect(), effect())[1]
    assert create_json(s3, "b", "k", {"n": 1}) == {"n": 1}


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"null"])
def test_a_damaged_document_is_named(s3: Any, body: bytes) -> None:
    assert read_json(s3, "b", "k") is None
    s3.put_object(Bucket="b", Key="k", Body=body)
    for reads in (lambda: read_json(s3, "b", "k"), lambda: create_json(s3, "b", "k", {})):
        with pytest.raises(UnreadableError, match="s3://b/k is damaged"):
            reads()


@pytest.mark.parametrize("status", [409, 412])
def test_a_refused_condition_is_an_answer_and_any_other_refusal_a_failure(
    s3: Any, status: int
) -> None:
    def refuse(code: int) -> Callable[[str, Callable[[], Any]], Any]:
        def call(name: str, effect: Callable[[], Any]) -> Any:
            if name == "put_object":
                raise client_error("Refused", code)
            return effect()

        return call

    s3.call = refuse(status)
    assert put_json(s3, "b", "k", {}, IfMatch="e") is None
    with pytest.raises(BeingWrittenError):  # and it came to nothing: there is no object
        create_json(s3, "b", "k", {})
    s3.call = refuse(403)
    with pytest.raises(ClientError):
        put_json(s3, "b", "k", {})
