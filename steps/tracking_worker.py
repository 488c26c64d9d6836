"""The process that talks to MLflow for `steps.tracking`: messages come in as JSON lines.

It gives up at the first failure, or when its time is used up, and prints the reason in one line;
after that it only reads on, so that whoever writes to it never waits.
"""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

BUDGET_SECONDS = 8.0  # for all requests together
EXECUTION_TAG = "claimflow.execution"


class TooSlowError(Exception):
    """The time for requests is used up."""


def main() -> int:
    # The job decides when it ends: at the end of its messages, so also when the job is gone.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)
    reason = ""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            _deliver(sys.stdin)
        except Exception as error:  # whatever it is, the job must not care
            reason = str(error) if isinstance(error, TooSlowError) else type(error).__name__
    if reason:
        for _ in sys.stdin:
            pass
        print(reason)
    return 0


def _deliver(lines: Iterable[str]) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    run = parent = None
    status, ended = "FAILED", None  # unless the job says how it ends
    spent = 0.0
    for line in lines:
        began = time.monotonic()
        message = json.loads(line)
        if message["do"] == "start":
            run, parent = _start(client, message)
        elif message["do"] == "end":
            status, ended = message["status"], message["time"]
        else:
            _log(client, run, message)
        spent += time.monotonic() - began
        if spent > BUDGET_SECONDS:
            raise TooSlowError(f"the server took more than {BUDGET_SECONDS:g} seconds")
    for run_id in filter(None, (run, parent)):
        client.set_terminated(run_id, status, ended)


def _start(client: Any, message: dict[str, Any]) -> tuple[str, str | None]:
    """Creates the run of a step, and the one of its execution if there is none yet."""
    found = client.get_experiment_by_name(message["experiment"])
    experiment = found.experiment_id if found else client.create_experiment(message["experiment"])
    tags = {"claimflow.code_version": message["code_version"]}
    parent = None
    if message["execution"]:
        tags[EXECUTION_TAG + "_step"] = f"{message['execution']}/{message['step']}"
        parent = _parent(client, experiment, message)
        tags["mlflow.parentRunId"] = parent
    run = client.create_run(experiment, message["time"], tags, message["step"])
    return run.info.run_id, parent


def _parent(client: Any, experiment: str, message: dict[str, Any]) -> str:
    """The run of an execution. Steps that start together may both make one: the first counts."""
    execution = message["execution"]

    def first() -> str | None:
        runs = client.search_runs(
            [experiment],
            f"tags.`{EXECUTION_TAG}` = '{execution}'",
            order_by=["attributes.start_time ASC"],
            max_results=1,
        )
        return runs[0].info.run_id if runs else None

    if existing := first():
        return existing
    tags = {EXECUTION_TAG: execution, "claimflow.code_version": message["code_version"]}
    made = client.create_run(experiment, message["time"], tags, execution).info.run_id
    oldest = first() or made
    if oldest != made:
        client.delete_run(made)
    return str(oldest)


def _log(client: Any, run: str | None, message: dict[str, Any]) -> None:
    from mlflow.entities import Metric, Param

    if message["do"] == "params":
        client.log_batch(run, params=[Param(*item) for item in message["params"].items()])
    elif message["do"] == "metrics":
        now, step = message["time"], message["step"]
        metrics = [Metric(name, value, now, step) for name, value in message["metrics"].items()]
        client.log_batch(run, metrics=metrics)
    elif message["do"] == "artifact" and Path(message["path"]).is_file():
        client.log_artifact(run, message["path"])


if __name__ == "__main__":
    sys.exit(main())
