"""What people see where AWS, or the local cloud, does not answer as it should."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from pipelines.aws import Aws
from pipelines.settings import Settings
from tests.desk.visitor import Visitor, sentence
from tests.pipelines.deployment import Deployment

PAGES = ("/", "/runs", "/models", "/models/1", "/uploads", f"/uploads/{'0' * 32}", "/try")


class Broken(Aws):
    """A deployment whose every call ends so."""

    def __init__(self, error: Exception) -> None:
        super().__init__(Settings(account="123456789012", region="eu-west-1"))
        self.error = error
        self.renewed = 0

    def client(self, *_: Any) -> Any:
        raise self.error

    def forget_credentials(self) -> None:
        self.renewed += 1


def refused(code: str, message: str = "nobody may") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribePipeline")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (refused("AccessDeniedException"), 502, "AWS refused DescribePipeline: nobody may"),
        (refused("ExpiredToken"), 503, "or start the desk anew"),
        (EndpointConnectionError(endpoint_url="http://x"), 503, "claimflow local up"),
    ],
)
def test_an_error_of_aws_is_one_sentence_with_what_to_do(
    path: str, error: Exception, status: int, said: str
) -> None:
    aws = Broken(error)
    answer = Visitor(aws).get(path)
    assert answer.status_code == status
    assert said in sentence(answer)
    assert "Traceback" not in answer.text
    assert bool(aws.renewed) == (status == 503), "what was put right meanwhile is found"


def test_html_in_an_error_is_shown_and_not_run() -> None:
    answer = Visitor(Broken(refused("X", "<script>alert(1)</script>"))).get("/models")
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert" in answer.text


def test_without_credentials_the_page_says_where_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    answer = Visitor(Aws(Settings(region="eu-west-1"))).get("/models")
    assert answer.status_code == 503
    assert "No AWS credentials were found" in sentence(answer)


def test_credentials_that_come_later_are_found(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    visitor = Visitor(Aws(Settings(region="eu-west-1")))
    assert visitor.get("/models").status_code == 503
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    assert visitor.get("/models").status_code == 200


def test_credentials_of_another_account_are_of_another_deployment(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = Aws(Settings(region="eu-west-1"))
    before = aws.settings.account
    role = boto3.client("sts").assume_role(
        RoleArn="arn:aws:iam::111122223333:role/other", RoleSessionName="other"
    )["Credentials"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", role["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", role["SecretAccessKey"])
    monkeypatch.setenv("AWS_SESSION_TOKEN", role["SessionToken"])
    assert aws.settings.account == before
    aws.forget_credentials()
    assert aws.settings.account == "111122223333"


def test_our_own_script_gets_the_sentence_alone() -> None:
    visitor = Visitor(Broken(refused("AccessDenied")))
    answer = visitor.client.get("/uploads", headers={"Accept": "application/json"})
    assert answer.status_code == 502
    assert answer.json() == {"error": "AWS refused DescribePipeline: nobody may (AccessDenied)"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/models/1/approve", 405), ("DELETE", "/uploads", 403)],
)
def test_what_there_is_not_is_a_page_too(
    deployment: Deployment, method: str, path: str, status: int
) -> None:
    answer = Visitor(deployment.aws).client.request(method, path)
    assert answer.status_code == status
    assert "<h1>" in answer.text


def test_the_settings_of_another_account_are_told(deployment: Deployment) -> None:
    other = Aws(Settings(region="eu-west-1", account="999999999999"))
    answer = Visitor(other).get("/models")
    assert "The setting account is 999999999999" in sentence(answer)
    assert boto3.client("sts").get_caller_identity()["Account"] in sentence(answer)
