"""A local cloud in a process of its own, for the tests: `cloud_process.py STATE`.

It runs the commands of jobs with this very Python, so that no image is needed, and prints its
endpoint as soon as it is ready. An image whose name holds `flaky` cannot be prepared the first
time, as if the host had a fault; one whose name holds `unknown` never. An image that is the path of
a script has that as its own entry point, and one of the project's the project's, but for a command
of Python's.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import UserError
from pipelines.local.cloud import LocalCloud
from pipelines.local.process_engine import ProcessEngine
from pipelines.settings import Settings

ENTRYPOINT = Path(__file__).resolve().parents[2] / "containers" / "entrypoint.py"


@dataclass(frozen=True)
class PlainPython:
    """Runs `python` as this Python; what a real image would add is empty."""

    uri: str

    def command(self, arguments: list[str], entrypoint: list[str] | None) -> list[str]:
        own = ["python", "-S", self.uri] if self.uri.endswith(".py") else []
        if "/gluon-cpu:" in self.uri and arguments[:1] != ["python"]:
            own = ["python", str(ENTRYPOINT)]
        words = [*(entrypoint or own), *arguments]
        return [sys.executable if word == "python" else word for word in words]

    def variables(self) -> dict[str, str]:
        return {"PYTHONPATH": "", "PYTHONUNBUFFERED": "1"}


@dataclass
class Images:
    """Prepares images."""

    seen: set[str] = field(default_factory=set)

    def prepare(self, uri: str) -> PlainPython:
        if "unknown" in uri:
            raise UserError(f"Image {uri} cannot run as a process")
        is_new = uri not in self.seen
        self.seen.add(uri)
        if "broken" in uri or ("flaky" in uri and is_new):
            raise OSError("the disk has a fault")
        return PlainPython(uri)


def main() -> None:
    settings = Settings.load(project="t", stage="test", region="us-east-1", state=Path(sys.argv[1]))
    engine = ProcessEngine(Images().prepare, grace=2)
    cloud = LocalCloud(settings, engine=engine)
    cloud.start()
    print(json.dumps(cloud.variables()), flush=True)
    sys.stdin.read()  # until whoever started it closes the pipe, or is gone
    cloud.stop()


if __name__ == "__main__":
    main()
