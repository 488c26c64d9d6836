"""What the templates put into an environment is what the code reads there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import pytest

from batch.settings import JobSettings
from lambdas import layout
from lambdas import settings as functions
from pipelines.settings import Settings
from tests.stacks.conftest import Deployed, deploy

READERS: dict[str, Any] = {
    "champion": functions.ChampionSettings,
    "submit": functions.SubmitSettings,
    "notify": functions.NotifySettings,
    "sweep": functions.SweepSettings,
    "retrain": functions.RetrainSettings,
    "approve": functions.ApproveSettings,
}


class Watched(Mapping[str, str]):
    """An environment that remembers which variables were asked for."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def _environment(deployed: Deployed, purpose: str) -> dict[str, str]:
    function = deployed.one(f"{purpose.capitalize()}Function")
    variables: dict[str, str] = function.properties["Environment"]["Variables"]
    return variables


@pytest.mark.parametrize("purpose", READERS)
def test_a_function_gets_all_that_it_needs_and_nothing_that_it_does_not_read(
    everything: Deployed, purpose: str
) -> None:
    environment = Watched(_environment(everything, purpose))
    READERS[purpose].from_environment(environment)
    # Metrics bear the deployment's name; every function gets it.
    assert set(environment) - {"DEPLOYMENT"} <= environment.asked
    assert environment["DEPLOYMENT"] == "claimflow-prod"


def test_functions_are_told_this_deployments_names(
    everything: Deployed, settings: Settings
) -> None:
    queues = "https://sqs.eu-central-1.amazonaws.com/123456789012"
    submit = functions.SubmitSettings.from_environment(_environment(everything, "submit"))
    assert submit == functions.SubmitSettings(
        model_package_group=settings.model_package_group,
        models_bucket=settings.bucket("models"),
        upload_bucket=settings.bucket("predictions"),
        results_bucket=settings.bucket("results"),
        job_queue=settings.job_queue,
        job_definition=settings.job_definition,
        dead_letter_queue_url=f"{queues}/{settings.dead_letter_queue}",
        max_receives=5,
        formulas=settings.deployment.formulas,
        shard_bytes=settings.deployment.shard_bytes,
        max_shards=settings.deployment.max_shards,
    )
    notify = functions.NotifySettings.from_environment(_environment(everything, "notify"))
    assert notify.topic_arn == settings.notice_topic_arn
    assert notify.results_bucket == settings.bucket("results")
    assert notify.job_queue == settings.job_queue
    sweep = functions.SweepSettings.from_environment(_environment(everything, "sweep"))
    assert sweep.upload_queue_url == f"{queues}/{settings.upload_queue}"
    assert sweep.upload_bucket == settings.bucket("predictions")
    champion = functions.ChampionSettings.from_environment(_environment(everything, "champion"))
    assert champion.models_bucket == settings.bucket("models")
    retrain = functions.RetrainSettings.from_environment(_environment(everything, "retrain"))
    assert retrain == functions.RetrainSettings(
        pipeline_name=settings.pipeline_name,
        data_bucket=settings.bucket("data"),
        quiet_seconds=settings.deployment.quiet_seconds,
        topic_arn=settings.notice_topic_arn,
        dead_letter_queue_url=f"{queues}/{settings.dead_letter_queue}",
        max_receives=3,
    )
    approve = functions.ApproveSettings.from_environment(_environment(everything, "approve"))
    assert approve.model_package_group == settings.model_package_group
    assert approve.models_bucket == settings.bucket("models")


def test_a_model_is_approved_without_a_person_only_if_the_settings_say_so(
    settings: Settings, least: Deployed
) -> None:
    def approve(deployed: Deployed) -> functions.ApproveSettings:
        return functions.ApproveSettings.from_environment(_environment(deployed, "approve"))

    assert approve(least).approve_accuracy is None
    bars = {"automatic_approval_accuracy": 0.9, "automatic_approval_regression": -0.01}
    told = approve(deploy(settings.model_copy(update=bars)))
    assert (told.approve_accuracy, told.approve_regression) == (0.9, -0.01)


def test_the_function_waits_for_as_long_as_its_queue_delays(settings: Settings) -> None:
    quiet = settings.deployment.model_copy(update={"quiet_seconds": 60})
    deployed = deploy(settings.model_copy(update={"deployment": quiet}))
    assert int(deployed.one("Labelled").properties["DelaySeconds"]) == 60
    retrain = functions.RetrainSettings.from_environment(_environment(deployed, "retrain"))
    assert retrain.quiet_seconds == 60


def test_the_sweep_leaves_an_upload_to_its_event_while_that_is_tried(everything: Deployed) -> None:
    sweep = functions.SweepSettings.from_environment(_environment(everything, "sweep"))
    hidden = everything.one("Uploads").properties["VisibilityTimeout"]
    assert sweep.minimum_age_seconds > hidden


def test_rules_and_roles_know_the_folder_of_uploads(everything: Deployed) -> None:
    pattern = everything.one("UploadRule").properties["EventPattern"]
    assert pattern["detail"]["object"]["key"] == [{"prefix": layout.INCOMING}]
    for purpose in ("submit", "sweep"):
        assert _environment(everything, purpose)["INCOMING_PREFIX"] == layout.INCOMING


@pytest.mark.parametrize("name", ["JobDefinition", "GpuJobDefinition"])
def test_a_job_definition_sets_nothing_that_the_function_sets(
    everything: Deployed, name: str
) -> None:
    container = everything.one(name).properties["ContainerProperties"]
    environment = {one["Name"]: one["Value"] for one in container["Environment"]}
    read = {field.name.upper() for field in fields(JobSettings)}
    assert set(environment) - read == {"HOME"}  # for libraries: the root file system is read-only
    assert set(environment) & read == {"CLAIMFLOW_CODE_VERSION"}
    assert environment["HOME"] == container["MountPoints"][0]["ContainerPath"]


def test_a_job_runs_the_command_that_predicts(everything: Deployed) -> None:
    from containers.entrypoint import MODULES

    for definition in everything.of("AWS::Batch::JobDefinition"):
        (command,) = definition.properties["ContainerProperties"]["Command"]
        assert MODULES[command] == "batch.predict"


@pytest.mark.parametrize("name", ["JobDefinition", "GpuJobDefinition"])
def test_what_fails_the_same_way_each_time_is_not_tried_again(
    everything: Deployed, name: str
) -> None:
    from fnmatch import fnmatchcase

    strategy = everything.one(name).properties["RetryStrategy"]

    def action(**ended: str) -> str:
        for rule in strategy["EvaluateOnExit"]:
            conditions = {key: value for key, value in rule.items() if key != "Action"}
            if all(fnmatchcase(ended.get(key, ""), value) for key, value in conditions.items()):
                return str(rule["Action"])
        return "RETRY"  # Batch's own default

    task = "Essential container in task exited"
    lost = "Host EC2 (instance i-0a) terminated."
    assert strategy["Attempts"] == 3
    assert action(OnExitCode="2", OnStatusReason=task) == "EXIT"
    assert action(OnExitCode="137", OnReason="OutOfMemoryError: Container killed") == "EXIT"
    assert action(OnExitCode="143", OnStatusReason=lost) == "RETRY"
    assert action(OnStatusReason=lost) == "RETRY"
    assert action(OnExitCode="137", OnStatusReason=task) == "RETRY"
    assert action(OnExitCode="1", OnStatusReason=task) == "RETRY"
