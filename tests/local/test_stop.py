"""Stop, repeated requests, and executions side by side."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from pipelines.local.documents import Documents
from pipelines.local.pipeline_service import PipelineService
from pipelines.local.step_cache import StepCache
from pipelines.local.step_runs import Services
from tests.local.local_cloud import (
    OK,
    ROLE,
    Cloud,
    definition,
    folder,
    get,
    invoke,
    is_alive,
    join,
    parameter,
    pid_of,
    policy,
    processing,
    training,
    unique,
    wait_for,
    writes,
)


@pytest.mark.parametrize("ignores_sigterm", [False, True])
@pytest.mark.parametrize("kind", [processing, training])
def test_stop_ends_the_running_job_and_its_children(
    cloud: Cloud, tmp_path: Path, kind: Any, ignores_sigterm: bool
) -> None:
    child = "import os, time; open({!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    script = (
        ("import signal; signal.signal(15, signal.SIG_IGN)\n" if ignores_sigterm else "")
        + f"import subprocess, sys\nchild = {child.format(str(tmp_path / 'child'))!r}\n"
        + "subprocess.Popen([sys.executable, '-S', '-c', child])\n"
        + child.format(str(tmp_path / "job"))
    )
    arn = cloud.start(cloud.create(kind("A", script), processing("B", OK, DependsOn=["A"])))
    pids = [wait_for(partial(pid_of, tmp_path / name)) for name in ("job", "child")]
    assert all(is_alive(pid) for pid in pids)
    cloud.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=arn)
    if ignores_sigterm:  # the time of grace
        assert cloud.status(arn) == "Stopping"
        assert cloud.steps(arn)["A"]["StepStatus"] == "Stopping"
    run = cloud.finish(arn)
    assert run["PipelineExecutionStatus"] == "Stopped"
    assert {name: step["StepStatus"] for name, step in run["Steps"].items()} == {"A": "Stopped"}
    assert not any(is_alive(pid) for pid in pids)
    assert cloud.job(run, "A")[f"{kind.__name__.title()}JobStatus"] == "Stopped"
    with pytest.raises(ClientError, match="only one that is executing can be stopped"):
        cloud.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=arn)


def test_stop_ends_the_pause_between_two_tries(cloud: Cloud) -> None:
    retry = {**policy("SageMaker.JOB_INTERNAL_ERROR", 3), "IntervalSeconds": 60}
    image = f"flaky-{unique('i')}"
    arn = cloud.start(cloud.create(processing("A", OK, image=image, RetryPolicies=[retry])))
    wait_for(lambda: cloud.steps(arn).get("A", {}).get("AttemptCount") == 2)
    cloud.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=arn)
    assert cloud.finish(arn)["PipelineExecutionStatus"] == "Stopped"


def test_a_job_that_leaves_a_process_behind_ends_all_the_same(cloud: Cloud, tmp_path: Path) -> None:
    child = (
        f"import os, time; open('{tmp_path}/child', 'w').write(str(os.getpid())); time.sleep(60)"
    )
    script = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-S', '-c', {child!r}])\n"
        f"while not os.path.exists('{tmp_path}/child'): time.sleep(.01)"
    )
    assert cloud.run(processing("A", script))["PipelineExecutionStatus"] == "Succeeded"
    assert not is_alive(wait_for(lambda: pid_of(tmp_path / "child")))


def test_the_same_token_gives_the_same_execution(cloud: Cloud) -> None:
    pipeline, client = cloud.create(processing("A", OK)), cloud.client("sagemaker")
    arns = [
        client.start_pipeline_execution(PipelineName=pipeline, ClientRequestToken=token * 32)[
            "PipelineExecutionArn"
        ]
        for token in ("a", "a", "b")
    ]
    assert arns[0] == arns[1] != arns[2]
    for arn in set(arns):
        cloud.finish(arn)
    again = client.start_pipeline_execution(PipelineName=pipeline, ClientRequestToken="a" * 32)
    assert again["PipelineExecutionArn"] == arns[0], "also when it has ended"


def test_executions_at_the_same_time_do_not_mix(cloud: Cloud) -> None:
    output = folder()
    step = processing(
        "A",
        "import time, sys\nfor i in range(20):\n"
        "    open('processing/o/out.txt', 'a').write(sys.argv[1]); time.sleep(.01)",
        outputs={"o": join(output, get("Execution.PipelineExecutionId"), on="/")},
        arguments=(get("Parameters.Word"),),
    )
    pipeline = cloud.create(step, parameters=(parameter("Word", "String", "x"),))
    arns = {word: cloud.start(pipeline, Word=word) for word in "abc"}
    for word, arn in arns.items():
        assert cloud.finish(arn)["PipelineExecutionStatus"] == "Succeeded"
        assert cloud.read(f"{output}/{arn.rpartition('/')[2]}/out.txt") == word * 20


def test_an_execution_runs_the_definition_that_it_was_started_with(cloud: Cloud) -> None:
    output = folder()
    old = processing("A", "import time; time.sleep(.3)")
    pipeline = cloud.create(
        old, processing("B", writes("o", "1"), outputs={"o": output}, DependsOn=["A"])
    )
    arn = cloud.start(pipeline)
    cloud.client("sagemaker").update_pipeline(
        PipelineName=pipeline, PipelineDefinition=definition(processing("C", OK))
    )
    assert list(cloud.finish(arn)["Steps"]) == ["A", "B"]
    assert cloud.read(f"{output}/out.txt") == "1"


def test_an_orderly_end_does_not_wait_for_a_function_for_ever(tmp_path: Path) -> None:
    documents, begun, goes_on = Documents(tmp_path), threading.Event(), threading.Event()

    def slow(_function: str, _payload: bytes) -> tuple[bytes, None]:
        begun.set()
        goes_on.wait(20)
        return b"{}", None

    other: Any = None  # nothing else is called
    services = Services(
        documents, other, other, StepCache(documents), slow, other, other, lambda *_: None
    )
    service = PipelineService(documents, "arn:aws:sagemaker:us-east-1:1", other, lambda _: services)
    service.create_pipeline(
        {
            "PipelineName": "p",
            "RoleArn": ROLE,
            "PipelineDefinition": definition(invoke("Ask", "slow")),
        }
    )
    arn = service.start_pipeline_execution({"PipelineName": "p"})["PipelineExecutionArn"]

    def status() -> str:
        found = service.describe_pipeline_execution({"PipelineExecutionArn": arn})
        return str(found["PipelineExecutionStatus"])

    assert begun.wait(20)
    before = time.monotonic()
    service.close(0.1)
    assert time.monotonic() - before < 10
    assert status() == "Stopping"
    goes_on.set()
    wait_for(lambda: status() == "Stopped")
