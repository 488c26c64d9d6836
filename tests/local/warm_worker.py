"""A process that runs the commands of the prediction image one after the other, one JSON line each.

It imports MXNet once: what a thousand processes would each take seconds for. All else is a job's:
its environment, its folder, the command's real code from `containers/entrypoint.py`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile

from containers import entrypoint


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    own = dict(os.environ)
    for line in sys.stdin:
        job = json.loads(line)
        os.environ.clear()
        os.environ.update(own | job["environment"])
        os.chdir(job["folder"])
        tempfile.tempdir = None  # TMPDIR is another one for each job
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = entrypoint.main(job["arguments"])
        answers.write(json.dumps({"code": code, "said": said.getvalue()}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
