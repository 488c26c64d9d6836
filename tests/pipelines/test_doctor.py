"""The doctor: a line for each thing, with a remedy wherever one is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from pipelines.aws import Aws
from pipelines.cli import claimflow
from pipelines.deployment import doctor
from pipelines.deployment.doctor import Finding, examine
from pipelines.settings import Settings
from tests.conftest import make_buckets

SETTINGS = Settings(project="t", region="eu-west-1")


def findings(place: Aws) -> dict[str, Finding]:
    return {one.what: one for one in examine(place, is_local=False)}


class Quotas:
    """Service Quotas with some values, or refusing to tell."""

    def __init__(self, values: dict[str, float] | None) -> None:
        self.values = values
        self.pages = 0

    def get_paginator(self, _name: str) -> Quotas:
        return self

    def paginate(self, **_: Any) -> Any:
        if self.values is None:
            told = {"Code": "AccessDeniedException", "Message": "no"}
            raise ClientError({"Error": told}, "ListServiceQuotas")
        for name, value in self.values.items():
            self.pages += 1
            yield {"Quotas": [{"QuotaName": name, "Value": value}]}


class Place(Aws):
    """moto's account, with quotas."""

    def __init__(self, values: dict[str, float] | None) -> None:
        super().__init__(SETTINGS)
        self.quotas = Quotas(values)

    def client(self, service: str) -> Any:
        return self.quotas if service == "service-quotas" else super().client(service)


def test_an_empty_account_is_told_what_is_missing(empty_aws: str) -> None:
    found = findings(Place({}))
    assert found["account"].level == "ok"
    for what in (
        "t-dev-pipelines",
        "t-dev-batch",
        "t-dev-lambdas",
        "t-dev-ci",
        "bucket data",
        "image validate",
    ):
        assert found[what].level == "error", what
    assert found["t-dev-pipelines"].remedy == "`claimflow deploy`"
    assert found["bucket data"].remedy == "`claimflow deploy`"
    assert found["image validate"].remedy == "`claimflow images push`"
    for one in found.values():
        assert one.level == "ok" or one.remedy, one


def test_what_is_there_is_well(empty_aws: str) -> None:
    settings = Aws(SETTINGS).settings
    make_buckets(*(settings.bucket(one) for one in ("data", "models", "predictions", "results")))
    boto3.client("cloudformation").create_stack(
        StackName="t-dev-pipelines",
        TemplateBody='{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}',
    )
    found = findings(Place({}))
    assert found["bucket results"].level == "ok"
    assert found["t-dev-pipelines"].level == "ok"


@pytest.mark.parametrize(
    ("values", "level", "said"),
    [
        (None, "warning", "servicequotas:ListServiceQuotas"),
        ({}, "warning", "is the instance type right?"),
        ({"ml.c5.2xlarge for spot training job usage": 0.0}, "error", "ask for 1 or more"),
        ({"ml.c5.2xlarge for spot training job usage": 4.0}, "ok", "4"),
    ],
)
def test_quotas_of_the_chosen_instances_are_looked_up(
    empty_aws: str, values: dict[str, float] | None, level: str, said: str
) -> None:
    found = findings(Place(values))
    name = "quota ml.c5.2xlarge for spot training job usage"
    one = found["quotas"] if values is None else found[name]
    assert one.level == level
    assert said in one.line


def test_looking_for_quotas_ends_as_soon_as_all_are_found() -> None:
    quotas = Quotas({"a": 1.0, "b": 2.0, "c": 3.0})
    assert doctor._found_quotas(quotas, {"a", "b"}) == {"a": 1.0, "b": 2.0}
    assert quotas.pages == 2


def test_without_credentials_the_rest_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(claimflow, ["doctor"])
    assert shown.exit_code == 1
    last = shown.output.splitlines()[-1]
    assert last.startswith("error    credentials")
    assert "claimflow local up" in last


def test_an_account_that_is_not_the_settings_own_is_an_error(empty_aws: str) -> None:
    place = Aws(Settings(project="t", region="eu-west-1", account="999999999999"))
    *_, last = examine(place, is_local=False)
    assert last.level == "error"
    assert "the settings say 999999999999" in last.told


def test_spot_machines_need_a_role_of_amazons_own(empty_aws: str) -> None:
    name = f"role {doctor.SPOT_ROLE}"
    missing = findings(Place({}))[name]
    assert missing.level == "warning"
    assert "create-service-linked-role --aws-service-name spot.amazonaws.com" in missing.remedy
    boto3.client("iam").create_role(RoleName=doctor.SPOT_ROLE, AssumeRolePolicyDocument="{}")
    assert findings(Place({}))[name].level == "ok"
