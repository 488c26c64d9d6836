"""Jobs on several instances, which are processes of this machine."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.local.engines import Ended, Engine, Limits, Mount, Task
from pipelines.local.job_containers import Assumed, Run
from pipelines.local.job_instances import instances_of, run_instances
from pipelines.local.process_engine import ProcessEngine
from tests.local.cloud_process import Images
from tests.local.local_cloud import (
    BUCKET,
    Cloud,
    folder,
    processing,
    training,
    unique,
    wait_for,
)
from tests.local.test_jobs import artifact

HOST = "import json; host = json.load(open('input/config/resourceconfig.json'))['current_host']\n"


def is_host(number: int, script: str) -> str:
    """A script that only one of the instances runs; the others sleep."""
    return HOST + f"import time\nif host != 'algo-{number}': time.sleep(60)\n{script}"


def test_each_instance_finds_all_data_and_who_the_others_are(cloud: Cloud) -> None:
    data = cloud.put("rows", f"{unique('data')}/train.csv")
    script = HOST + (
        "import os, socket\n"
        "rows = open('input/data/train/train.csv').read()\n"
        "resources = json.load(open('input/config/resourceconfig.json'))\n"
        "address, port = os.environ['CLAIMFLOW_MEETING'].split(':')\n"
        "if host == 'algo-1': socket.create_server((address, int(port))).close()\n"
        "found = [rows, resources['hosts'], address, port, os.environ['SAGEMAKER_BASE_DIR']]\n"
        "open(f'model/{host}.json', 'w').write(json.dumps(found))\n"
        "open('model/same', 'w').write(host)\n"
        "open('output/data/' + host, 'w')"
    )
    run = cloud.run(training("A", script, channels={"train": data}, instances=3))
    assert run["PipelineExecutionStatus"] == "Succeeded", run
    job = cloud.job(run, "A")
    model = artifact(cloud, job["ModelArtifacts"]["S3ModelArtifacts"])
    hosts = ["algo-1", "algo-2", "algo-3"]
    assert sorted(model) == [*(f"{host}.json" for host in hosts), "same"]
    assert model["same"] == b"algo-1"
    found = [json.loads(model[f"{host}.json"]) for host in hosts]
    assert [one[:3] for one in found] == [["rows", hosts, "127.0.0.1"]] * 3
    assert len({one[3] for one in found}) == 1, "one place where they meet"
    assert len({one[4] for one in found}) == 3, "a folder for each"
    others = job["ModelArtifacts"]["S3ModelArtifacts"].replace("model.tar.gz", "output.tar.gz")
    assert sorted(artifact(cloud, others)) == hosts


def test_one_instance_needs_no_place_to_meet(cloud: Cloud) -> None:
    script = "import os; assert 'CLAIMFLOW_MEETING' not in os.environ"
    assert cloud.run(training("A", script))["PipelineExecutionStatus"] == "Succeeded"


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "open('output/failure', 'w').write('no data'); raise SystemExit(3)",
            "AlgorithmError: algo-{}: no data, exit code: 3",
        ),
        ("import os; os.kill(os.getpid(), 9)", "AlgorithmError: algo-{}: the container was killed"),
    ],
)
def test_the_first_instance_that_fails_ends_the_others_and_gives_the_reason(
    cloud: Cloud, number: int, script: str, reason: str
) -> None:
    began = time.monotonic()
    run = cloud.run(training("A", is_host(number, script), instances=2))
    assert time.monotonic() - began < 15
    job = cloud.job(run, "A")
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(reason.format(number))


def test_a_stop_reaches_all_instances(cloud: Cloud, tmp_path: Path) -> None:
    script = HOST + f"import time; open(f'{tmp_path}/{{host}}', 'w'); time.sleep(60)"
    client, name = cloud.client("sagemaker"), unique("job")
    arguments = training("", script, instances=2)["Arguments"]
    client.create_training_job(TrainingJobName=name, **arguments)
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    client.stop_training_job(TrainingJobName=name)
    describe = client.describe_training_job
    wait_for(lambda: describe(TrainingJobName=name)["TrainingJobStatus"] == "Stopped")


def test_checkpoints_reach_all_instances_and_go_up_from_each(cloud: Cloud) -> None:
    checkpoints = folder("checkpoints")
    cloud.put("epoch 1", f"{checkpoints.partition(BUCKET)[2][1:]}/state")
    script = HOST + (
        "before = open('checkpoints/state').read()\n"
        "if host == 'algo-1': open('checkpoints/next', 'w').write(before + ', 2')"
    )
    run = cloud.run(training("A", script, checkpoints=checkpoints, instances=2))
    assert run["PipelineExecutionStatus"] == "Succeeded", run
    assert cloud.read(f"{checkpoints}/next") == "epoch 1, 2"


def test_a_processing_job_has_its_instances_too(cloud: Cloud) -> None:
    output = folder()
    script = (
        "import json; host = json.load(open('config/resourceconfig.json'))['current_host']\n"
        "text = open('processing/i/file.txt').read()\n"
        "open(f'processing/o/{host}', 'w').write(text)"
    )
    step = processing("A", script, inputs={"i": cloud.put("x")}, outputs={"o": output})
    step["Arguments"]["ProcessingResources"]["ClusterConfig"]["InstanceCount"] = 2
    assert cloud.run(step)["PipelineExecutionStatus"] == "Succeeded"
    assert cloud.keys(output) == ["algo-1", "algo-2"]


@pytest.mark.parametrize("apart", [True, False])
def test_each_instance_has_a_log_of_its_own_or_its_name_before_its_lines(
    tmp_path: Path, apart: bool
) -> None:
    lines: dict[str, list[str]] = {"algo-1": [], "algo-2": []}
    run = Run(
        job={},
        root=tmp_path / "ml",
        log=lines["algo-1"].append,
        role=Assumed({}, None),  # type: ignore[arg-type]
        engine=engine(),
        stop=threading.Event(),
        log_of=(lambda host: lines[host].append) if apart else None,
    )
    for one in instances_of(run, {"InstanceCount": 2}):
        one.log(f"from {one.host}")
    expected = ["from algo-1"] if apart else ["from algo-1", "algo-2: from algo-2"]
    assert lines == {"algo-1": expected, "algo-2": ["from algo-2"] if apart else []}


class Recorder(Engine):
    """Keeps what it is asked to run."""

    name = "docker"

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def run(self, task: Task, *_: object) -> Ended:
        self.tasks.append(task)
        return Ended(0)


@pytest.mark.parametrize(
    ("job", "count", "has_network"),
    [
        ({}, 1, True),
        ({"EnableNetworkIsolation": True}, 1, False),
        ({"NetworkConfig": {"EnableNetworkIsolation": True}}, 1, False),
        ({"NetworkConfig": {"VpcConfig": {}}}, 1, True),
        ({"EnableNetworkIsolation": True}, 2, True),  # they have to find each other
    ],
)
def test_an_isolated_job_has_no_network_and_none_may_write_more_than_its_folders(
    tmp_path: Path, job: dict[str, Any], count: int, has_network: bool
) -> None:
    recorder = Recorder()
    role = Assumed({}, None)  # type: ignore[arg-type]
    run = Run(job, tmp_path / "ml", print, role, recorder, threading.Event())
    instances = instances_of(run, {"InstanceCount": count})
    run_instances(run, instances, "image", arguments=["train"], entrypoint=None, more={})
    assert len(recorder.tasks) == count
    for task in recorder.tasks:
        assert task.mounts == (Mount("/opt/ml", task.folder),)
        assert task.limits == Limits(has_network=has_network, tmpfs={"/tmp": ""})


def engine() -> ProcessEngine:
    return ProcessEngine(Images().prepare, grace=2)


def together(tmp_path: Path, *scripts: str, timeout: float = 20) -> tuple[int, Ended]:
    tasks = [
        Task("plain", ["-S", "-c", script], ["python"], {}, tmp_path, timeout) for script in scripts
    ]
    return engine().run_together([(task, lambda _: None) for task in tasks], threading.Event())


def test_the_engine_says_which_container_failed_first(tmp_path: Path) -> None:
    slow = "import time; time.sleep(60)"
    assert together(tmp_path, "", "") == (0, Ended(0))
    assert together(tmp_path, slow, slow, "raise SystemExit(7)") == (2, Ended(7))
    place, ended = together(tmp_path, slow, "", timeout=0.5)
    assert (place, ended.timed_out, ended.stopped) == (0, True, False)
