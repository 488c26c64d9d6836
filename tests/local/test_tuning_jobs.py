"""Tuning jobs in the local cloud: the search, its limits, its end, and what is refused."""

from __future__ import annotations

import copy
import json
import shlex
from pathlib import Path
from random import Random
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipelines.cli import tune
from pipelines.errors import UserError
from pipelines.local.aws_json import ServiceError
from pipelines.local.documents import Documents
from pipelines.local.iam.actions import operation_calls
from pipelines.local.iam.context import Place
from pipelines.local.search_space import SearchSpace
from pipelines.local.tuning_jobs import TuningJobs
from tests.local.local_cloud import ROLE, Cloud, Document, training, unique, wait_for
from tests.steps.small_models import claims, write_table

HYPERPARAMETERS = (
    "import json; given = json.load(open('input/config/hyperparameters.json'))\n"
    "x, n, kind = float(given['x']), int(given['n']), given['kind']\n"
)
SCORES = HYPERPARAMETERS + "print(f'score={x + n}')"
RANGES: Document = {
    "ContinuousParameterRanges": [
        {"Name": "x", "MinValue": "0.001", "MaxValue": "0.9", "ScalingType": "Logarithmic"}
    ],
    "IntegerParameterRanges": [{"Name": "n", "MinValue": "1", "MaxValue": "9"}],
    "CategoricalParameterRanges": [{"Name": "kind", "Values": ["a", "b"]}],
}


def request(script: str, *, jobs: int = 3, parallel: int = 2, **config: Any) -> Document:
    """A request for a tuning job that runs a script."""
    job = training("", script, hyperparameters={"fixed": "1"}, metrics={"score": "score=([0-9.]+)"})
    definition = job["Arguments"]
    definition["StaticHyperParameters"] = definition.pop("HyperParameters")
    specification = definition["AlgorithmSpecification"]  # has no entry point: the image's own runs
    specification["TrainingImage"] = specification.pop("ContainerEntrypoint")[-1]
    return {
        "HyperParameterTuningJobName": unique("tune"),
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"},
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": jobs,
                "MaxParallelTrainingJobs": parallel,
            },
            "ParameterRanges": copy.deepcopy(RANGES),
            "RandomSeed": 1,
            **config,
        },
        "TrainingJobDefinition": definition,
    }


def start(cloud: Cloud, asked: Document) -> str:
    cloud.client("sagemaker").create_hyper_parameter_tuning_job(**asked)
    return str(asked["HyperParameterTuningJobName"])


def described(cloud: Cloud, name: str) -> Document:
    describe = cloud.client("sagemaker").describe_hyper_parameter_tuning_job
    return dict(describe(HyperParameterTuningJobName=name))


def finish(cloud: Cloud, name: str) -> Document:
    def ended() -> Document | None:
        found = described(cloud, name)
        is_over = found["HyperParameterTuningJobStatus"] in ("Completed", "Failed", "Stopped")
        return found if is_over else None

    return dict(wait_for(ended))


def trainings(cloud: Cloud, name: str, **more: str) -> list[Document]:
    listed = cloud.client("sagemaker").list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name, **more
    )
    return list(listed["TrainingJobSummaries"])


def test_the_best_of_all_training_jobs_is_told(cloud: Cloud) -> None:
    asked = request(SCORES)
    name = start(cloud, {**asked, "Tags": [{"Key": "project", "Value": "p"}]})
    found = finish(cloud, name)
    assert found["HyperParameterTuningJobStatus"] == "Completed", found
    assert found["TrainingJobStatusCounters"]["Completed"] == 3
    assert found["ObjectiveStatusCounters"] == {"Succeeded": 3, "Pending": 0, "Failed": 0}
    by_value = trainings(cloud, name, SortBy="FinalObjectiveMetricValue", SortOrder="Descending")
    assert found["BestTrainingJob"] == by_value[0]
    for one in by_value:
        tuned = one["TunedHyperParameters"]
        assert set(tuned) == {"x", "n", "kind"}
        value = one["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]
        assert value == pytest.approx(float(tuned["x"]) + int(tuned["n"]))
        job = cloud.client("sagemaker").describe_training_job(
            TrainingJobName=one["TrainingJobName"]
        )
        assert job["TuningJobArn"] == found["HyperParameterTuningJobArn"]
        objective = {"_tuning_objective_metric": "score"}
        assert job["HyperParameters"] == {**tuned, **objective, "fixed": "1"}
    values = [one["FinalHyperParameterTuningJobObjectiveMetric"]["Value"] for one in by_value]
    assert values == sorted(values, reverse=True) and len(set(values)) > 1


def test_the_least_is_the_best_where_it_is_to_be_minimised_and_a_seed_draws_the_same(
    cloud: Cloud,
) -> None:
    objective = {"Type": "Minimize", "MetricName": "score"}
    names = [
        start(cloud, request(SCORES, HyperParameterTuningJobObjective=objective)) for _ in range(2)
    ]
    best = [finish(cloud, name)["BestTrainingJob"] for name in names]
    first, second = ([one["TunedHyperParameters"] for one in trainings(cloud, n)] for n in names)
    assert first == second
    assert best[0]["TunedHyperParameters"] == min(
        first, key=lambda tuned: float(tuned["x"]) + int(tuned["n"])
    )


def test_no_more_run_at_once_than_allowed_and_a_stop_ends_them(
    cloud: Cloud, tmp_path: Path
) -> None:
    script = f"import os, time; open(f'{tmp_path}/{{os.getpid()}}', 'w'); time.sleep(60)"
    name = start(cloud, request(script, jobs=6, parallel=2))
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    client = cloud.client("sagemaker")
    assert described(cloud, name)["TrainingJobStatusCounters"]["InProgress"] == 2
    client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    found = finish(cloud, name)
    assert found["HyperParameterTuningJobStatus"] == "Stopped"
    assert found["TrainingJobStatusCounters"]["Stopped"] == len(trainings(cloud, name)) == 2
    assert "BestTrainingJob" not in found
    with pytest.raises(ClientError, match="cannot be stopped: it is Stopped"):
        client.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


@pytest.mark.parametrize(("jobs", "attempts"), [(2, 2), (9, 5)])
def test_it_gives_up_when_no_training_job_succeeds(cloud: Cloud, jobs: int, attempts: int) -> None:
    name = start(cloud, request("raise SystemExit(3)", jobs=jobs, parallel=1))
    found = finish(cloud, name)
    assert found["HyperParameterTuningJobStatus"] == "Failed"
    assert f"No training job succeeded after {attempts} attempts" in found["FailureReason"]
    failed = trainings(cloud, name, StatusEquals="Failed")
    assert len(failed) == attempts
    assert "exit code: 3" in failed[0]["FailureReason"]


def test_those_that_fail_or_tell_no_figure_do_not_spoil_the_others(cloud: Cloud) -> None:
    script = HYPERPARAMETERS + "print(f'score={n}' if kind == 'a' else 'none')\nassert n > 2"
    found = finish(cloud, start(cloud, request(script, jobs=8, parallel=2, RandomSeed=5)))
    assert found["HyperParameterTuningJobStatus"] == "Completed"
    counted = found["ObjectiveStatusCounters"]
    assert counted["Succeeded"] and counted["Failed"] and sum(counted.values()) == 8
    assert found["BestTrainingJob"]["TunedHyperParameters"]["kind"] == "a"


def test_tuning_jobs_are_listed_by_name_and_status(cloud: Cloud) -> None:
    name = start(cloud, request(SCORES, jobs=1, parallel=1))
    finish(cloud, name)
    listed = cloud.client("sagemaker").list_hyper_parameter_tuning_jobs
    (one,) = listed(NameContains=name)["HyperParameterTuningJobSummaries"]
    assert one["Strategy"] == "Bayesian" and one["HyperParameterTuningJobStatus"] == "Completed"
    none = listed(NameContains=name, StatusEquals="Failed")
    assert none["HyperParameterTuningJobSummaries"] == []
    with pytest.raises(ClientError, match="does not exist"):
        described(cloud, "tune-nowhere")


def changed(path: str, value: Any) -> Document:
    """A request with one member changed, or (None) left out."""
    asked = request(SCORES)
    *parents, last = path.split("/")
    place: Any = asked
    for part in parents:
        place = place[int(part)] if part.isdecimal() else place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return asked


CONFIG, DEFINITION = "HyperParameterTuningJobConfig", "TrainingJobDefinition"
CONTINUOUS = f"{CONFIG}/ParameterRanges/ContinuousParameterRanges/0"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (f"{CONTINUOUS}/MinValue", "0.9", "expected MinValue below MaxValue"),
        (f"{CONTINUOUS}/MinValue", "0", "Logarithmic scaling needs values above 0"),
        (f"{CONTINUOUS}/MinValue", "nan", "'nan' is not a number"),
        (f"{CONTINUOUS}/ScalingType", "Exponential", "enum value set"),
        (f"{CONTINUOUS}/Name", "n", "Hyperparameter n has more than one range"),
        (f"{CONTINUOUS}/Name", "fixed", "both static and with a range: fixed"),
        (f"{CONFIG}/ParameterRanges", {}, "At least one hyperparameter range"),
        (
            f"{CONFIG}/ParameterRanges/IntegerParameterRanges/0/MaxValue",
            "9.5",
            "'9.5' is not an integer",
        ),
        (
            f"{CONFIG}/ParameterRanges/CategoricalParameterRanges/0/Values",
            ["a", "a"],
            "not distinct",
        ),
        (f"{CONFIG}/ResourceLimits/MaxParallelTrainingJobs", 4, "is above MaxNumberOfTrainingJobs"),
        (f"{CONFIG}/ResourceLimits/MaxNumberOfTrainingJobs", 751, "the limit is 750"),
        (f"{CONFIG}/ResourceLimits/MaxRuntimeInSeconds", 600, "not supported by the local cloud"),
        (f"{CONFIG}/HyperParameterTuningJobObjective/MetricName", "other", "A metric is required"),
        (f"{CONFIG}/Strategy", "Grid", "Strategy Grid is not supported"),
        (f"{DEFINITION}/RoleArn", ROLE.replace("everything", "nobody"), "Could not assume role"),
        (f"{DEFINITION}/OutputDataConfig", None, "OutputDataConfig"),
        (DEFINITION, None, "TrainingJobDefinition is required"),
        ("HyperParameterTuningJobName", "a_b", "regular expression pattern"),
        ("WarmStartConfig", {"ParentHyperParameterTuningJobs": [], "WarmStartType": "x"}, "Warm"),
    ],
)
def test_what_the_service_refuses_is_refused(
    cloud: Cloud, path: str, value: Any, said: str
) -> None:
    asked = changed(path, value)
    client = boto3.client(  # what boto3 would find is the service's to find
        "sagemaker",
        endpoint_url=cloud.endpoint,
        region_name="us-east-1",
        aws_access_key_id=cloud.variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=cloud.variables["AWS_SECRET_ACCESS_KEY"],
        config=Config(parameter_validation=False, retries={"max_attempts": 0}),
    )
    with pytest.raises(ClientError, match=said):
        client.create_hyper_parameter_tuning_job(**asked)
    with pytest.raises(ClientError):
        described(cloud, asked["HyperParameterTuningJobName"])


def test_what_the_local_cloud_left_running_has_failed_after_a_restart(tmp_path: Path) -> None:
    documents = Documents(tmp_path)
    for status in ("InProgress", "Stopping", "Completed"):
        job = {"HyperParameterTuningJobName": status, "HyperParameterTuningJobStatus": status}
        documents.put("tuning-jobs", status, job)
    other: Any = None  # nothing else is called
    TuningJobs(Documents(tmp_path), "arn", other, other).fail_interrupted("it ended")
    kept = Documents(tmp_path)

    def status_of(name: str) -> str:
        return str((kept.get("tuning-jobs", name) or {})["HyperParameterTuningJobStatus"])

    assert [status_of(one) for one in ("InProgress", "Stopping", "Completed")] == [
        "Failed",
        "Stopped",
        "Completed",
    ]
    assert (kept.get("tuning-jobs", "InProgress") or {})["FailureReason"] == "it ended"


def test_a_crash_of_the_local_cloud_ends_a_tuning_job_and_its_training_jobs(tmp_path: Path) -> None:
    first = Cloud(tmp_path / "state")
    script = f"import time; open('{tmp_path}/on', 'w'); time.sleep(60)"
    name = start(first, request(script, jobs=2, parallel=1))
    wait_for((tmp_path / "on").exists)
    first.crash()
    second = Cloud(tmp_path / "state")
    try:
        found = described(second, name)
        assert found["HyperParameterTuningJobStatus"] == "Failed"
        assert "The local cloud ended while this ran" in found["FailureReason"]
        assert [one["TrainingJobStatus"] for one in trainings(second, name)] == ["Failed"]
    finally:
        second.stop()


def test_a_caller_needs_the_job_the_role_and_the_tags(cloud: Cloud) -> None:
    asked = {**request(SCORES), "Tags": [{"Key": "project", "Value": "p"}]}
    found = operation_calls(
        "sagemaker", "CreateHyperParameterTuningJob", asked, Place("123456789012", "us-east-1")
    )
    name = asked["HyperParameterTuningJobName"]
    job = f"arn:aws:sagemaker:us-east-1:123456789012:hyper-parameter-tuning-job/{name}"
    assert [(call.action, call.resource) for call in found] == [
        ("sagemaker:CreateHyperParameterTuningJob", job),
        ("iam:PassRole", ROLE),
        ("sagemaker:AddTags", job),
    ]
    assert found[0].context["sagemaker:instancetypes"] == ("ml.c5.2xlarge",)


@pytest.fixture
def here(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a user of the cloud."""
    settings = {"CLAIMFLOW_PROJECT": "t", "CLAIMFLOW_STAGE": "test"}
    for name, value in {**cloud.variables, **settings}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("here")
def test_the_command_searches_with_the_real_training_as_its_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(claims(200), tmp_path / "train.csv")
    given = ["--train", str(tmp_path / "train.csv"), "--jobs", "2", "--wait", "-p", "Epochs=1"]
    done = CliRunner().invoke(tune.command, given)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "draws at random, whatever the strategy" in done.stderr
    told = done.stdout.splitlines()
    assert told[0].startswith("t-test-")
    assert sum("Completed validation:accuracy=" in line for line in told) == 2
    assert told[-1].startswith("claimflow pipeline start -p ModelKind=ngram -p LearningRate=0.0")
    options = dict(word.split("=", 1) for word in shlex.split(told[-1]) if "=" in word)
    assert options["Epochs"] == "1"
    assert set(json.loads(options["Hyperparameters"])) == {"smoothing", "bits"}
    shown = json.loads(CliRunner().invoke(tune.command, ["status", "--json"]).stdout)
    assert shown["name"] == told[0] and shown["best"]["value"] > 0.5
    stopped = CliRunner().invoke(tune.command, ["stop"])
    assert isinstance(stopped.exception, UserError)
    assert "it is Completed" in str(stopped.exception)


@pytest.mark.usefixtures("here")
def test_a_real_training_on_two_instances_learns_what_one_learns(tmp_path: Path) -> None:
    write_table(claims(200), tmp_path / "train.csv")
    best = []
    for count in (1, 2):
        given = ["--train", str(tmp_path / "train.csv"), "--jobs", "1", "--wait", "-p", "Epochs=1"]
        fixed = ["-p", "LearningRate=0.01", "-p", f"TrainingInstanceCount={count}"]
        bits = ["-p", 'Hyperparameters={"bits": 14, "smoothing": 1}']
        done = CliRunner().invoke(tune.command, [*given, *fixed, *bits])
        assert done.exit_code == 0, (done.output, done.exception)
        shown = json.loads(CliRunner().invoke(tune.command, ["status", "--json"]).stdout)
        best.append(shown["best"]["value"])
    assert best[0] > 0.5 and best[1] == pytest.approx(best[0], abs=0.05)


@pytest.mark.usefixtures("here")
def test_trainings_that_fail_are_told_with_their_reason_and_exit_code_1(cloud: Cloud) -> None:
    uri = cloud.put("text,label\nwater,a\nfuse,b\n", f"{unique('data')}/train.csv")
    given = ["--train", uri, "--jobs", "1", "--wait", "-p", "LabelColumn=cause"]
    done = CliRunner().invoke(tune.command, given)
    assert done.exit_code == 1, (done.output, done.exception)
    assert "1 of 1: Failed batch_size=" in done.stdout
    assert '0001-train.csv has no column "cause"' in done.stdout
    assert "Failed: No training job succeeded after 1 attempts" in done.stdout
    assert "best:" not in done.stdout


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--train", "nowhere.csv"], "there is no such file"),
        (["--train", "s3://t-test-data-123456789012-us-east-1/nowhere"], "There is nothing at"),
        (["status", "t-test-nowhere"], "There is no tuning job t-test-nowhere"),
    ],
)
def test_misuse_of_the_command_is_one_line(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(tune.command, arguments)
    assert isinstance(done.exception, UserError), done.output
    assert said in str(done.exception)


@given(
    low=st.floats(1e-6, 1e3),
    width=st.floats(1e-3, 1e3),
    scaling=st.sampled_from(["Auto", "Linear", "Logarithmic"]),
    seed=st.integers(0, 1000),
)
def test_a_point_lies_within_its_range(low: float, width: float, scaling: str, seed: int) -> None:
    given_ = {"MinValue": repr(low), "MaxValue": repr(low + width), "ScalingType": scaling}
    space = SearchSpace({"ContinuousParameterRanges": [{"Name": "x", **given_}]})
    random = Random(seed)
    for _ in range(20):
        assert low <= float(space.draw(random)["x"]) <= low + width


def test_scaling_decides_where_points_lie() -> None:
    def median(scaling: str, low: str, high: str) -> float:
        given_ = {"Name": "x", "MinValue": low, "MaxValue": high, "ScalingType": scaling}
        space, random = SearchSpace({"ContinuousParameterRanges": [given_]}), Random(0)
        return sorted(float(space.draw(random)["x"]) for _ in range(999))[499]

    assert median("Linear", "0", "1") == pytest.approx(0.5, abs=0.05)
    assert median("Logarithmic", "0.0001", "1") == pytest.approx(0.01, rel=0.3)
    assert median("ReverseLogarithmic", "0", "0.9999") == pytest.approx(0.99, abs=0.004)
    whole = {"Name": "n", "MinValue": "1", "MaxValue": "3"}
    space, random = SearchSpace({"IntegerParameterRanges": [whole]}), Random(0)
    assert {space.draw(random)["n"] for _ in range(99)} == {"1", "2", "3"}
    with pytest.raises(ServiceError, match="within 0 <= x < 1"):
        median("ReverseLogarithmic", "0", "1")
