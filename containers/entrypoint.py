"""The images' ENTRYPOINT: the first argument says which command of this image runs."""

from __future__ import annotations

import importlib
import os
import sys
from typing import NoReturn

MODULES = {
    "train": "steps.train",
    "validate": "steps.validate",
    "evaluate": "steps.evaluate",
    "predict": "batch.predict",
    "predict-file": "batch.predict_file",
    "explain": "steps.explain",
}


def main(arguments: list[str]) -> int:
    """Runs a command with the rest of the arguments and returns its exit code, 2 if there is no
    such command."""
    command = arguments[0] if arguments else ""
    if command not in MODULES:
        print(f"command is {command!r}, expected one of: {', '.join(MODULES)}", file=sys.stderr)
        return 2
    sys.argv = arguments
    return int(importlib.import_module(MODULES[command]).main())


def end(code: int) -> NoReturn:
    """Ends the process when all is written. MXNet's engine is not taken down with the interpreter:
    that now and then waits for ever (apache/mxnet#8997), and a job that is done would not end."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    end(main(sys.argv[1:]))
