"""A local cloud for the soak test, as `cloud_process.py`: jobs run in processes that stay warm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from pipelines.local.cloud import LocalCloud
from pipelines.local.engines import Ended, Task
from pipelines.local.process_engine import ProcessEngine
from pipelines.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


class WarmEngine(ProcessEngine):
    """Hands each task to an idle worker, and starts one where there is none."""

    def __init__(self) -> None:
        self._idle: list[subprocess.Popen[str]] = []
        self._lock = threading.Lock()

    def run(self, task: Task, log: Callable[[str], None], stop: threading.Event) -> Ended:
        with self._lock:
            worker = self._idle.pop() if self._idle else self._start()
        assert worker.stdin is not None and worker.stdout is not None
        job = {
            "environment": dict(task.environment),
            "folder": str(task.folder),
            "arguments": task.arguments,
        }
        worker.stdin.write(json.dumps(job) + "\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
        if not line or stop.is_set():
            worker.kill()
            return Ended(worker.wait(), stopped=stop.is_set())
        answer = json.loads(line)
        with self._lock:
            self._idle.append(worker)
        for line in answer["said"].splitlines():
            log(line)
        return Ended(answer["code"])

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm_worker.py"))],
            env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,  # its end is the worker's end
            stdout=subprocess.PIPE,
            text=True,
        )


def main() -> None:
    settings = Settings.load(project="t", stage="test", region="us-east-1", state=Path(sys.argv[1]))
    cloud = LocalCloud(settings, engine=WarmEngine())
    cloud.start()
    print(json.dumps(cloud.variables()), flush=True)
    sys.stdin.read()
    cloud.stop()


if __name__ == "__main__":
    main()
