"""Runs Lambda functions from their zips, each in processes of its own that stay warm."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.local import function_worker
from pipelines.local.aws_json import ServiceError
from pipelines.local.logs import Logs, LogStream
from pipelines.local.moto_bridge import FunctionCode

KEEP_WARM = 300.0  # seconds
MAX_WORKERS = 8  # of all functions, at a time

# The code of a function by name or ARN, or None.
FindCode = Callable[[str], "FunctionCode | None"]
EnvironmentOf = Callable[[str], dict[str, str]]  # a role's ARN → what lets a process act as it


@dataclass(frozen=True)
class Answer:
    """What an invocation gave: the payload, and the kind of error if it is one."""

    payload: bytes
    error: str | None = None  # "Unhandled", as Lambda's header says


class Functions:
    """Invokes functions."""

    def __init__(
        self, find_code: FindCode, logs: Logs, folder: Path, environment_of: EnvironmentOf
    ) -> None:
        self._find_code = find_code
        self._logs = logs
        self._folder = folder.resolve()
        self._environment_of = environment_of
        self._idle: dict[str, list[_Worker]] = {}
        self._lock = threading.Lock()
        self._room = threading.Semaphore(MAX_WORKERS)

    def invoke(self, name: str, payload: bytes) -> Answer | None:
        """Runs a function with a payload; None where there is no such function."""
        code = self._find_code(name)
        if code is None:
            return None
        try:
            event = json.loads(payload or b"{}")
        except ValueError as error:
            raise ServiceError(
                "InvalidRequestContentException",
                f"Could not parse request body into json: {error}",
            ) from None
        with self._room:
            worker = self._take(code)
            answer, usable = worker.answer(event)
            if usable:
                with self._lock:
                    self._idle.setdefault(worker.key, []).append(worker)
            else:
                worker.close()
        return answer

    def find(self, name: str) -> FunctionCode:
        """The code of a function.

        Raises
        ------
        ServiceError
            There is no such function.
        """
        code = self._find_code(name)
        if code is None:
            raise ServiceError("ResourceNotFoundException", f"Function not found: {name}", 404)
        return code

    def close(self) -> None:
        with self._lock:
            workers = [worker for idle in self._idle.values() for worker in idle]
            self._idle.clear()
        for worker in workers:
            worker.close()

    def _take(self, code: FunctionCode) -> _Worker:
        key = f"{code.arn} {code.sha256} {code.handler} {sorted(code.environment.items())}"
        with self._lock:
            old = [
                worker
                for idle_key, idle in self._idle.items()
                for worker in idle
                if idle_key.startswith(f"{code.arn} ")
                and (idle_key != key or worker.idle_since < time.monotonic() - KEEP_WARM)
            ]
            for worker in old:
                self._idle[worker.key].remove(worker)
            found = self._idle[key].pop() if self._idle.get(key) else None
        for worker in old:
            worker.close()
        environment = self._environment_of(code.role)
        return found or _Worker(key, code, self._unpack(code), self._logs, environment)

    def _unpack(self, code: FunctionCode) -> Path:
        place = self._folder / code.sha256.replace("/", "_").replace("+", "-").rstrip("=")
        with self._lock:
            if not place.exists():
                temporary = Path(f"{place}.{os.getpid()}.part")
                with zipfile.ZipFile(io.BytesIO(code.zip)) as archive:
                    archive.extractall(temporary)
                temporary.replace(place)
        return place


class _Worker:
    """One process that has a function loaded."""

    def __init__(
        self, key: str, code: FunctionCode, folder: Path, logs: Logs, environment: dict[str, str]
    ) -> None:
        self.key = key
        self.idle_since = time.monotonic()
        self._code = code
        self._name = code.arn.split(":")[6]
        stream = f"{time.strftime('%Y/%m/%d')}/[$LATEST]{uuid.uuid4().hex}"
        self._log: LogStream = logs.open(f"/aws/lambda/{self._name}", stream)
        self._process = subprocess.Popen(
            [sys.executable, function_worker.__file__],
            cwd=folder,
            env={
                "PATH": os.environ.get("PATH", ""),
                **environment,
                **code.environment,
                "_HANDLER": code.handler,
                "AWS_LAMBDA_FUNCTION_NAME": self._name,
                "LAMBDA_TASK_ROOT": str(folder),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def answer(self, event: Any) -> tuple[Answer, bool]:
        """The function's answer, and whether the process can take another event."""
        request_id = str(uuid.uuid4())
        context = {
            "aws_request_id": request_id,
            "function_name": self._name,
            "invoked_function_arn": self._code.arn,
            "memory_limit_in_mb": 128,
            "deadline": time.time() + self._code.timeout,
        }
        self._log.write(f"START RequestId: {request_id}")
        started = time.monotonic()
        timer = threading.Timer(self._code.timeout, self._process.kill)
        timer.start()
        line = ""
        with contextlib.suppress(BrokenPipeError):
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(json.dumps({"event": event, "context": context}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        is_late = not timer.is_alive()
        timer.cancel()
        spent = (time.monotonic() - started) * 1000
        self._log.write(f"REPORT RequestId: {request_id} Duration: {spent:.0f} ms")
        self.idle_since = time.monotonic()
        if not line:
            reason = (
                f"Task timed out after {self._code.timeout} seconds"
                if is_late
                else "Runtime exited"
            )
            message = {"errorMessage": f"{request_id} {reason}", "errorType": "Runtime.ExitError"}
            return Answer(json.dumps(message).encode(), "Unhandled"), False
        answer = json.loads(line)
        if "error" in answer:
            return Answer(json.dumps(answer["error"]).encode(), "Unhandled"), True
        return Answer(answer["result"].encode()), True

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # its loop ends, as it does when the local cloud crashes
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join(2)  # what the function started may hold its pipe
        self._log.close()

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._log.write(line.rstrip("\n"))
