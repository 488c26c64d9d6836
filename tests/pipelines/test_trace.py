"""Lineage, both ways: looked up in a local cloud that has run a pipeline of small scripts."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import boto3
import pytest
from click.testing import CliRunner, Result

from lambdas import layout
from pipelines.aws import Aws
from pipelines.cli.model import command as model_command
from pipelines.cli.trace import command as trace_command
from pipelines.errors import UserError
from pipelines.registry.models import Models
from pipelines.settings import Settings
from tests.local.local_cloud import (
    IMAGE,
    Cloud,
    definition,
    get,
    join,
    output_of,
    parameter,
    processing,
    register,
    training,
)
from tests.pipelines.lineages import MANIFEST, evaluation, statistics

LABELS = {"fire": (0.95, 300), "water": (0.71, 100)}
MANIFEST_KEY = "versions/0123456789abcdef/manifest.json"
GONE = "arn:aws:sagemaker:us-east-1:123456789012:model-package/t-test/99"

SPECIFICATION = {
    "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://b/model.tar.gz"}],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
}


@dataclass
class Line:
    """A deployment in which three versions were registered: 1 by a pipeline from a data version,
    2 by the same with every job cached, 3 by hand."""

    cloud: Cloud
    aws: Aws

    @property
    def settings(self) -> Settings:
        return self.aws.settings

    def put(self, bucket: Any, key: str, document: Any) -> str:
        text = document if isinstance(document, str) else json.dumps(document)
        return self.cloud.put(text, key, self.settings.bucket(bucket))

    def predict(self, name: str, version: int, settled: bool = True, **more: Any) -> str:
        """Leaves the record and the results of an upload that has been deleted since (one that is
        there would be predicted by the cloud, too); its id."""
        bucket = self.settings.bucket("predictions")
        key, version_id = layout.INCOMING + name, uuid.uuid4().hex
        upload = layout.upload_id(bucket, key, version_id)
        arn = Models(self.aws).versions()[-1].arn.rpartition("/")[0] + f"/{version}"
        prefix = layout.results_prefix(key, upload)
        model = {"model_package_arn": arn, "model_package_version": version}
        record = {
            "upload_id": upload,
            "bucket": bucket,
            "key": key,
            "version": version_id,
            "etag": "e",
            "results_bucket": self.settings.bucket("results"),
            "results_prefix": prefix,
            "claimed_at": "2026-11-22T12:00:00+00:00",
            "submitted_at": "2026-11-22T12:00:01+00:00",
            **model,
        }
        self.put("results", layout.submission_key(upload), {**record, **more})
        if settled:
            self.put("results", f"{prefix}predictions.csv", "text,label\na,fire\n")
            self.put("results", prefix + layout.MANIFEST, {**result(prefix), **model})
        return upload

    def trace(self, what: str, *options: str) -> dict[str, Any]:
        done = self.run(trace_command, what, "--json", *options)
        assert done.exit_code == 0, done.exception
        found: dict[str, Any] = json.loads(done.output)
        return found

    def run(self, command: Any, *arguments: str) -> Result:
        variables = {**self.cloud.variables, "CLAIMFLOW_PROJECT": "t", "CLAIMFLOW_STAGE": "test"}
        # boto3's own session would keep the credentials that it first saw.
        with patch.object(boto3, "DEFAULT_SESSION", None):
            return CliRunner().invoke(command, list(arguments), env=variables)


def result(prefix: str) -> dict[str, Any]:
    return {
        "outcome": "succeeded",
        "reason": "",
        "rows_in": 1,
        "predicted": 1,
        "rejected": 0,
        "for_review": 0,
        "seconds": 0.5,
        "predictions": f"{prefix}predictions.csv",
        "rejects": f"{prefix}rejects.csv",
        "report": f"{prefix}report.html",
        "approval_status": "Approved",
        "artifact_sha256": "d" * 64,
        "code_version": "abc123",
        "job_id": "job-1",
    }


def _writes(output: str, **files: Any) -> str:
    """A script that writes JSON files into an output."""
    texts = {f"{name}.json": json.dumps(document) for name, document in files.items()}
    return f"for n, t in {texts!r}.items(): open('processing/{output}/' + n, 'w').write(t)"


def _pipeline(models: str, group: str) -> str:
    """Validate, Train, Evaluate and Register, as the real pipeline names and notes them."""

    def run_folder(name: str) -> Any:
        return join(f"s3://{models}/runs", get("Execution.PipelineExecutionId"), name, on="/")

    cached: Any = {"CacheConfig": {"Enabled": True, "ExpireAfter": "P1D"}}
    artifact = get("Steps.Train.ModelArtifacts.S3ModelArtifacts")
    evaluated = output_of("Evaluate", "evaluation")
    quality = {"S3Uri": join(evaluated, "statistics.json", on="/"), "ContentType": "text/json"}
    noted = {
        "code_version": get("Parameters.CodeVersion"),
        "execution": get("Execution.PipelineExecutionArn"),
        "cause": get("Parameters.Cause"),
        "data_manifest": get("Parameters.DataManifest"),
        "image": IMAGE,
    }
    figures = {"evaluation": evaluation(LABELS), "statistics": statistics(list(LABELS))}
    steps = (
        processing(
            "Validate",
            _writes("validation", report={}),
            outputs={"validation": run_folder("validation")},
            **cached,
        ),
        training(
            "Train",
            "open('model/weights', 'w').write('1')",
            hyperparameters={"kind": "ngram", "epochs": "20"},
            environment={"MLFLOW_EXPERIMENT_NAME": "an-experiment"},
            output=run_folder("model"),
            DependsOn=["Validate"],
            **cached,
        ),
        processing(
            "Evaluate",
            _writes("evaluation", **figures),
            inputs={"model": artifact},
            outputs={"evaluation": run_folder("evaluation")},
            **cached,
        ),
        register(
            "Register",
            group,
            artifact,
            ModelMetrics={"ModelQuality": {"Statistics": quality}},
            CustomerMetadataProperties=noted,
        ),
    )
    names = ("CodeVersion", "Cause", "DataManifest", "MlflowTrackingUri")
    return definition(*steps, parameters=tuple(parameter(name, "String") for name in names))


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    cloud = Cloud(tmp_path_factory.mktemp("trace") / "state")
    settings = Settings(project="t", stage="test", region="us-east-1")
    line = Line(cloud, Aws(settings, cloud.variables))
    manifest = line.put("data", MANIFEST_KEY, MANIFEST.document())
    group = line.settings.model_package_group
    sagemaker = cloud.client("sagemaker")
    sagemaker.create_pipeline(
        PipelineName="trace",
        RoleArn="arn:aws:iam::123456789012:role/everything",
        PipelineDefinition=_pipeline(line.settings.bucket("models"), group),
    )
    given = {"CodeVersion": "abc123", "Cause": "data", "DataManifest": manifest}
    for _ in range(2):
        started = cloud.start("trace", **given, MlflowTrackingUri="http://tracking:5000")
        done = cloud.finish(started)
        assert done["PipelineExecutionStatus"] == "Succeeded", done
    sagemaker.create_model_package(
        ModelPackageGroupName=group,
        InferenceSpecification=SPECIFICATION,
    )
    yield line
    cloud.stop()


def test_a_prediction_leads_back_to_everything_it_comes_from(line: Line) -> None:
    Models(line.aws).decide(1, approve=True, why="first model")
    upload = line.predict("a folder/claims.csv", 1)
    results = line.settings.bucket("results")
    found = line.trace(f"s3://{results}/results/a folder/claims.csv/{upload}/predictions.csv")
    assert found["missing"] == []
    assert found["upload"]["id"] == upload
    assert found["upload"]["address"].endswith("/incoming/a folder/claims.csv")
    assert found["prediction"]["job"] == "job-1"
    assert found["prediction"]["rows_in"] == 1
    assert found["model"]["version"] == 1
    assert "version 1 approved" in found["model"]["decisions"][0]
    assert found["execution"]["cause"] == "data"
    assert found["execution"]["commit"] == "abc123"
    assert found["execution"]["status"] == "Succeeded"
    steps = {one["name"]: one for one in found["execution"]["steps"]}
    assert steps["Train"]["image"] == IMAGE
    assert ":training-job/" in steps["Train"]["job"]
    assert [one["rows"] for one in found["data"]["train"]] == [1000, 200]
    identifier = found["execution"]["arn"].rpartition("/")[2]
    runs = f"s3://{line.settings.bucket('models')}/runs/{identifier}"
    assert found["reports"] == {
        "validation": f"{runs}/validation",
        "evaluation": f"{runs}/evaluation/evaluation.json",
    }
    assert found["tracking"] == {
        "address": "http://tracking:5000",
        "experiment": "an-experiment",
        "tag": f"claimflow.execution = {identifier}",
    }


@pytest.mark.parametrize("place", ["manifest.json", "report.html", "rejects.csv", "", "id"])
def test_any_file_of_a_result_and_the_id_name_the_same(line: Line, place: str) -> None:
    upload = line.predict("same.csv", 1)
    folder = f"s3://{line.settings.bucket('results')}/results/same.csv/{upload}/"
    found = line.trace(upload if place == "id" else folder + place)
    assert found["upload"]["id"] == upload
    assert found["prediction"]["outcome"] == "succeeded"
    assert found["model"]["version"] == 1


def test_a_file_of_an_earlier_attempt_leads_to_the_model_of_that_attempt(line: Line) -> None:
    upload = line.predict("again.csv", 1)
    first = layout.results_prefix("incoming/again.csv", upload)
    second = layout.prefix_of_attempt(first, 2)
    arn = Models(line.aws).show(2).arn
    record = line.cloud.read(
        f"s3://{line.settings.bucket('results')}/{layout.submission_key(upload)}"
    )
    model = {"model_package_arn": arn, "model_package_version": 2}
    newer = {**json.loads(record), **model, "results_prefix": second, "attempt": 2}
    line.put("results", layout.submission_key(upload), newer)
    line.put("results", second + layout.MANIFEST, {**result(second), **model})
    address = f"s3://{line.settings.bucket('results')}/"
    assert line.trace(f"{address}{first}predictions.csv")["model"]["version"] == 1
    assert line.trace(f"{address}{second}predictions.csv")["model"]["version"] == 2
    assert line.trace(upload)["model"]["version"] == 2


def test_a_cached_step_names_the_execution_that_it_ran_in(line: Line) -> None:
    first, second = (line.trace(str(version)) for version in (1, 2))
    assert second["execution"]["arn"] != first["execution"]["arn"]
    for step in second["execution"]["steps"][:3]:
        assert step["cached_from"] == first["execution"]["arn"]
    assert second["reports"] == first["reports"], "they lie where the steps ran"


def test_a_version_leads_forward_to_its_newest_results(line: Line) -> None:
    older = [line.predict(f"many {number}.csv", 2) for number in range(2)]
    time.sleep(1.1)  # S3 tells seconds
    newest = line.predict("newest.csv", 2)
    line.predict("of another version.csv", 1)
    found = line.trace("2", "--limit", "2")
    first, second = (one["upload"] for one in found["predicted"])
    assert first == newest
    assert second in older
    assert found["predicted"][0]["predicted"] == 1
    assert found["prediction"] == found["upload"] == {}


def test_what_is_missing_is_told_and_the_rest_shown(line: Line) -> None:
    found = line.trace("3")
    assert found["model"]["artifact"] == "s3://b/model.tar.gz"
    assert found["missing"] == [
        "the registry does not say which execution made this version",
        "there is no data manifest: the execution was given files, not a data version",
        "where the report on the data lies is not known",
        "where the evaluation lies is not known",
    ]


def test_what_was_deleted_or_damaged_is_told(line: Line) -> None:
    sagemaker = line.cloud.client("sagemaker")
    arn = sagemaker.create_model_package(
        ModelPackageGroupName=line.settings.model_package_group,
        InferenceSpecification=SPECIFICATION,
        CustomerMetadataProperties={
            "execution": "arn:aws:sagemaker:us-east-1:123456789012:pipeline/p/execution/gone",
            "data_manifest": line.put("data", "versions/damaged/manifest.json", "{not json"),
        },
    )["ModelPackageArn"]
    found = line.trace(arn.rpartition("/")[2])
    sagemaker.delete_model_package(ModelPackageName=arn)
    told = " ".join(found["missing"])
    assert "execution/gone cannot be read (ResourceNotFound)" in told
    assert "versions/damaged/manifest.json is damaged" in told


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"challenger": {"rows": "x"}}', "NaN"])
def test_a_damaged_evaluation_is_told_and_holds_no_approval_up(line: Line, body: str) -> None:
    folder = line.put("models", "damaged/evaluation.json", body).rpartition("/")[0]
    quality = {"S3Uri": f"{folder}/statistics.json", "ContentType": "text/json"}
    sagemaker = line.cloud.client("sagemaker")
    arn = sagemaker.create_model_package(
        ModelPackageGroupName=line.settings.model_package_group,
        InferenceSpecification=SPECIFICATION,
        ModelMetrics={"ModelQuality": {"Statistics": quality}},
    )["ModelPackageArn"]
    version = int(arn.rpartition("/")[2])
    assert Models(line.aws).decide(version, approve=True, why="x").approval == "Approved"
    told = line.trace(str(version))["missing"]
    sagemaker.delete_model_package(ModelPackageName=arn)
    assert "the evaluation is damaged: its figures are not known" in told


def test_results_of_a_version_that_was_deleted_are_still_shown(line: Line) -> None:
    upload = line.predict("orphan.csv", 99)
    found = line.trace(upload)
    assert found["prediction"]["model_version"] == 99
    assert found["model"] == {}
    assert f"the model version {GONE} is not in the registry" in found["missing"][0]


def test_an_upload_that_is_under_way_has_a_model_and_no_results_yet(line: Line) -> None:
    upload = line.predict("under way.csv", 1, settled=False, job_id="")
    found = line.trace(upload)
    assert found["model"]["version"] == 1
    assert found["missing"] == ["there is no manifest of results (yet)"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("77", "There is no model version 77"),
        ("f" * 32, "There is no upload f"),
        ("s3://t-test-results/nothing", "There is no upload s3://t-test-results/nothing"),
        ("nothing.csv", "There is no upload nothing.csv"),
        ("", "Nothing to trace: give the s3 address"),
        (" ", "Nothing to trace: give the s3 address"),
    ],
)
def test_what_does_not_exist_is_one_line(line: Line, what: str, said: str) -> None:
    failed = line.run(trace_command, what).exception
    assert isinstance(failed, UserError)
    assert said in str(failed)
    assert "\n" not in str(failed)


def test_people_read_the_trace_as_a_table(line: Line) -> None:
    line.predict("for people.csv", 1)
    shown = line.run(trace_command, "1").output
    for expected in (
        "model\n",
        "  cause            data\n",
        "labelled/train/old claims.csv  1,000 rows",
        "Train Succeeded",
        "predicted, newest first",
        "incoming/for people.csv",
    ):
        assert expected in shown
    assert "not known" not in shown
    assert "not known\n  the registry does not say" in line.run(trace_command, "3").output


def test_an_approval_keeps_the_model_card_with_the_version(line: Line) -> None:
    Models(line.aws).decide(2, approve=True, why="better")
    arn = Models(line.aws).show(2).arn
    described = line.cloud.client("sagemaker").describe_model_package(ModelPackageName=arn)
    card = described["ModelCard"]
    assert card["ModelCardStatus"] == "Approved"
    written = json.loads(card["ModelCardContent"])
    job = written["training_details"]["training_job_details"]
    assert {"name": "kind", "value": "ngram"} in job["hyper_parameters"]
    assert written["evaluation_details"][0]["metric_groups"][0]["metric_data"][0]["value"] == 0.93
    assert described["ModelApprovalStatus"] == "Approved"
    assert described["CustomerMetadataProperties"]["cause"] == "data"


def test_a_card_that_the_registry_does_not_take_holds_no_approval_up(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = "pipelines.registry.models.attached"
    monkeypatch.setattr(refused, lambda _found: {"ModelCardStatus": "None"})
    told: list[str] = []
    decided = Models(line.aws).decide(3, True, "good", told.append)
    assert decided.approval == "Approved"
    assert "does not take the model card" in told[0]


def test_the_card_is_written_as_a_page_and_as_json(line: Line, tmp_path: Any) -> None:
    done = line.run(model_command, "card", "1", "--output", str(tmp_path / "new"))
    assert done.exit_code == 0, done.exception
    written = sorted(tmp_path.glob("new/*"))
    assert [one.name for one in written] == ["model_card.html", "model_card.json"]
    assert "misses most is water" in written[0].read_text("utf-8")
    custom = json.loads(written[1].read_text("utf-8"))["additional_information"]["custom_details"]
    assert custom["version"] == "1"
    assert custom["tracked_run"].startswith("http://tracking:5000")
