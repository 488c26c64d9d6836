"""The contract between a job and its container: what lies below /opt/ml, what comes back."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from tests.local.local_cloud import (
    BUCKET,
    Cloud,
    Document,
    folder,
    processing,
    training,
    unique,
    wait_for,
)

LIST_FILES = (
    "import json, pathlib; root = pathlib.Path({root!r})\n"
    "files = [path for path in root.rglob('*') if path.is_file()]\n"
    "found = {{path.relative_to(root).as_posix(): path.read_text() for path in files}}\n"
    "pathlib.Path('{to}').write_text(json.dumps(found))"
)


def show(root: str, to: str) -> str:
    """A script that writes the files below a folder, as JSON, into a file."""
    return LIST_FILES.format(root=root, to=to)


def artifact(cloud: Cloud, uri: str) -> dict[str, bytes]:
    """The files of a model.tar.gz."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    body = cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        return {
            member.name: tar.extractfile(member).read()  # type: ignore[union-attr]
            for member in tar.getmembers()
            if member.isfile()
        }


def test_a_training_finds_its_configuration_and_channels(cloud: Cloud) -> None:
    prefix = unique("data")
    cloud.put("one", f"{prefix}/train/a.csv")
    cloud.put("two", f"{prefix}/train/deep/b c.csv")
    cloud.put("three", f"{prefix}/test.csv")
    run = cloud.run(
        training(
            "A",
            show("input", "model/found.json"),
            channels={
                "train": f"s3://{BUCKET}/{prefix}/train",
                "test": f"s3://{BUCKET}/{prefix}/test.csv",
            },
            hyperparameters={"epochs": "3", "kind": "ngram"},
        )
    )
    job = cloud.job(run, "A")
    found = json.loads(artifact(cloud, job["ModelArtifacts"]["S3ModelArtifacts"])["found.json"])
    assert found["data/train/a.csv"] == "one"
    assert found["data/train/deep/b c.csv"] == "two"
    assert found["data/test/test.csv"] == "three"
    assert json.loads(found["config/hyperparameters.json"]) == {"epochs": "3", "kind": "ngram"}
    channels = json.loads(found["config/inputdataconfig.json"])
    assert channels["train"] == {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    resources = json.loads(found["config/resourceconfig.json"])
    assert resources["current_host"] == "algo-1" and resources["hosts"] == ["algo-1"]
    assert resources["current_instance_type"] == "ml.c5.2xlarge"


def test_a_training_gets_its_environment_and_nothing_of_the_users(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import json, os; open('model/env.json', 'w').write(json.dumps(dict(os.environ)))"
    run = cloud.run(training("A", script, environment={"MLFLOW_TRACKING_URI": "none"}))
    job = cloud.job(run, "A")
    found = json.loads(artifact(cloud, job["ModelArtifacts"]["S3ModelArtifacts"])["env.json"])
    assert found["MLFLOW_TRACKING_URI"] == "none"
    assert found["TRAINING_JOB_NAME"] == job["TrainingJobName"]
    assert found["TRAINING_JOB_ARN"] == job["TrainingJobArn"]
    assert found["AWS_ENDPOINT_URL"] == cloud.endpoint
    assert "PATH" not in found and "PYTEST_CURRENT_TEST" not in found


def test_a_training_leaves_a_model_other_outputs_and_final_metrics(cloud: Cloud) -> None:
    script = (
        "open('output/data/report.txt', 'w').write('fine')\n"
        "import os; os.mkdir('model/deep'); open('model/deep/w', 'w').write('x')\n"
        "print('loss=0.5 acc=-'); print('loss=.25'); print('loss=.'); print('other')"
    )
    output = folder("models")
    run = cloud.run(
        training(
            "A",
            script,
            output=output,
            metrics={"loss": r"loss=([0-9.]+)", "acc": r"acc=([0-9.-]+)", "no": "nothing=(.)"},
        )
    )
    job = cloud.job(run, "A")
    assert job["ModelArtifacts"]["S3ModelArtifacts"].startswith(f"{output}/pipelines-")
    assert artifact(cloud, job["ModelArtifacts"]["S3ModelArtifacts"]) == {"deep/w": b"x"}
    others = job["ModelArtifacts"]["S3ModelArtifacts"].replace("model.tar.gz", "output.tar.gz")
    assert artifact(cloud, others) == {"report.txt": b"fine"}
    metrics = {one["MetricName"]: one["Value"] for one in job["FinalMetricDataList"]}
    assert metrics == {"loss": 0.25}
    assert job["TrainingStartTime"] <= job["TrainingEndTime"]


def test_checkpoints_come_down_before_and_go_up_during_a_training(
    cloud: Cloud, tmp_path: Path
) -> None:
    checkpoints = folder("checkpoints")
    cloud.put("epoch 1", f"{checkpoints.partition(BUCKET)[2][1:]}/run/state")
    script = (
        "import os, time\n"
        "before = open('checkpoints/run/state').read()\n"
        "open('checkpoints/run/next', 'w').write(before + ', 2')\n"
        f"while not os.path.exists('{tmp_path}/go'): time.sleep(.02)\n"
        "raise SystemExit(1)"
    )
    arn = cloud.start(cloud.create(training("A", script, checkpoints=checkpoints)))
    wait_for(lambda: "run/next" in cloud.keys(checkpoints))
    (tmp_path / "go").touch()
    assert cloud.finish(arn)["PipelineExecutionStatus"] == "Failed"
    assert cloud.read(f"{checkpoints}/run/next") == "epoch 1, 2"


@pytest.mark.parametrize(("continuous", "keys"), [(True, ["a.txt", "deep/b.txt"]), (False, [])])
def test_only_a_continuous_output_is_there_after_a_failure(
    cloud: Cloud, continuous: bool, keys: list[str]
) -> None:
    script = (
        "import os; os.mkdir('processing/o/deep'); open('processing/o/a.txt', 'w').write('a')\n"
        "open('processing/o/deep/b.txt', 'w').write('b'); raise SystemExit(1)"
    )
    output = folder()
    run = cloud.run(processing("A", script, outputs={"o": output}, continuous=continuous))
    assert run["PipelineExecutionStatus"] == "Failed"
    assert cloud.keys(output) == keys


def test_a_processing_job_finds_its_inputs_and_tells_its_exit_message(cloud: Cloud) -> None:
    data, output = cloud.put("x"), folder()
    script = show("processing/i", "processing/o/found.json") + (
        "\nopen('output/message', 'w').write('2 warnings')"
    )
    run = cloud.run(processing("A", script, inputs={"i": data}, outputs={"o": output}))
    assert json.loads(cloud.read(f"{output}/found.json")) == {"file.txt": "x"}
    assert cloud.job(run, "A")["ExitMessage"] == "2 warnings"


@pytest.mark.parametrize(
    ("below", "files"),
    [
        ("", {"p/a": "1", "p/deep/b": "2", "p2/c": "3"}),
        ("/p", {"a": "1", "deep/b": "2", "c": "3"}),  # a prefix, as S3 means it
        ("/p/", {"a": "1", "deep/b": "2"}),
        ("/p/a", {"a": "1"}),
    ],
)
def test_an_input_is_what_lies_under_its_prefix(
    cloud: Cloud, below: str, files: dict[str, str]
) -> None:
    bucket, output = unique("bucket"), folder()
    cloud.client("s3").create_bucket(Bucket=bucket)
    for key, content in {"p/a": "1", "p/deep/b": "2", "p2/c": "3", "p/deep/": ""}.items():
        cloud.put(content, key, bucket)
    script = show("processing/i", "processing/o/found.json")
    uri = f"s3://{bucket}{below}"
    run = cloud.run(processing("A", script, inputs={"i": uri}, outputs={"o": output}))
    assert run["PipelineExecutionStatus"] == "Succeeded", run
    assert json.loads(cloud.read(f"{output}/found.json")) == files


def test_a_key_that_leads_out_of_the_job_is_not_followed(cloud: Cloud) -> None:
    bucket, output = unique("bucket"), folder()
    cloud.client("s3").create_bucket(Bucket=bucket)
    cloud.put("bad", "in/../../../../escaped", bucket)
    cloud.put("good", "in/ok", bucket)
    script = show(".", "processing/o/found.json")
    # The job's folder is still there when it looks: nothing is removed before it ends.
    script += "\nassert not list(root.parents[2].rglob('escaped'))"
    script = script.replace("pathlib.Path('.')", "pathlib.Path('.').resolve()", 1)
    cloud.run(processing("A", script, inputs={"i": f"s3://{bucket}/in"}, outputs={"o": output}))
    assert json.loads(cloud.read(f"{output}/found.json"))["processing/i/ok"] == "good"
    assert list(cloud.state.rglob("escaped")) == []


def test_a_path_outside_opt_ml_is_refused(cloud: Cloud) -> None:
    step = processing("A", "", inputs={"i": cloud.put("x")})
    step["Arguments"]["ProcessingInputs"][0]["S3Input"]["LocalPath"] = "/opt/ml/../../etc"
    assert "paths below /opt/ml only" in cloud.run(step)["FailureReason"]


def test_the_log_of_a_job_can_be_read_while_it_runs_and_holds_every_line(
    cloud: Cloud, tmp_path: Path
) -> None:
    script = (
        "import os, sys, time; print('begin'); print('Ü → ü', file=sys.stderr)\n"
        f"while not os.path.exists('{tmp_path}/go'): time.sleep(.02)\n"
        "print(*range(12000), sep='\\n'); print('x' * 100_000)\n"
        "sys.stdout.buffer.write(b'\\xff end')"
    )
    logs, group = cloud.client("logs"), "/aws/sagemaker/ProcessingJobs"
    arn = cloud.start(cloud.create(processing("A", script)))

    def messages() -> list[str]:
        job = cloud.steps(arn).get("A", {}).get("Metadata", {}).get("ProcessingJob", {}).get("Arn")
        if not job:
            return []
        streams = logs.describe_log_streams(
            logGroupName=group, logStreamNamePrefix=job.rpartition("/")[2]
        )["logStreams"]
        if not streams:
            return []
        found: list[Document] = []
        token: dict[str, str] = {}
        while True:
            part = logs.get_log_events(
                logGroupName=group,
                logStreamName=streams[0]["logStreamName"],
                startFromHead=True,
                **token,
            )
            if not part["events"]:
                return [event["message"] for event in found]
            found += part["events"]
            token = {"nextToken": part["nextForwardToken"]}

    wait_for(lambda: "begin" in messages())
    (tmp_path / "go").touch()
    cloud.finish(arn)
    found = messages()
    assert sorted(found[:2]) == ["begin", "Ü → ü"]
    assert found[2:12002] == [str(number) for number in range(12000)]
    assert found[12002:] == ["x" * 100_000, "� end"]


def test_jobs_can_be_made_listed_and_stopped_through_the_api(cloud: Cloud, tmp_path: Path) -> None:
    client, name = cloud.client("sagemaker"), unique("job")
    script = f"import time; open('{tmp_path}/on', 'w'); time.sleep(60)"
    client.create_training_job(TrainingJobName=name, **training("", script)["Arguments"])
    (job,) = client.list_training_jobs(NameContains=name)["TrainingJobSummaries"]
    assert job["TrainingJobStatus"] == "InProgress"
    with pytest.raises(client.exceptions.ClientError, match="already exists"):
        client.create_training_job(TrainingJobName=name, **training("", script)["Arguments"])
    wait_for((tmp_path / "on").exists)
    client.stop_training_job(TrainingJobName=name)
    describe = client.describe_training_job
    wait_for(lambda: describe(TrainingJobName=name)["TrainingJobStatus"] == "Stopped")
    with pytest.raises(client.exceptions.ClientError, match="Requested resource not found"):
        client.describe_processing_job(ProcessingJobName=name)


def test_each_instance_of_a_job_has_a_log_stream_of_its_own(cloud: Cloud) -> None:
    script = (
        "import json; print(json.load(open('input/config/resourceconfig.json'))['current_host'])"
    )
    run = cloud.run(training("Train", script, instances=2))
    assert run["PipelineExecutionStatus"] == "Succeeded", run
    logs, group = cloud.client("logs"), "/aws/sagemaker/TrainingJobs"
    prefix = f"{cloud.job(run, 'Train')['TrainingJobName']}/"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)
    told = {
        one["logStreamName"].removeprefix(prefix).rpartition("-")[0]: [
            event["message"]
            for event in logs.get_log_events(
                logGroupName=group, logStreamName=one["logStreamName"]
            )["events"]
        ]
        for one in streams["logStreams"]
    }
    assert told == {"algo-1": ["algo-1"], "algo-2": ["algo-2"]}
