"""What runs inside a function's process: loads the handler once and answers one event a line.

Started by `functions.py` with the unpacked zip as working directory. Requests come on the standard
input and answers leave on the standard output, a JSON document each; what the function prints goes
to its log.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Context:
    """The context that Lambda passes to a handler."""

    aws_request_id: str
    function_name: str
    invoked_function_arn: str
    memory_limit_in_mb: int
    deadline: float  # seconds since 1970

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self.deadline - time.time()) * 1000))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the function prints is its log
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    handler = None
    for line in sys.stdin:
        request = json.loads(line)
        context = Context(**request["context"])
        answer: dict[str, Any]
        try:
            handler = handler or getattr(importlib.import_module(module), name)
            answer = {"result": json.dumps(handler(request["event"], context))}
        except BaseException as error:
            traceback.print_exc()
            answer = {"error": {"errorMessage": str(error), "errorType": type(error).__name__}}
        sys.stdout.flush()
        sys.stderr.flush()
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
