"""A desk as a user starts it, and what stands behind it: a local cloud with one trained model."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.line import Line, new_line

VERSION = 1  # of the model


@dataclass(frozen=True)
class Desk:
    """A desk that is served, and its local cloud."""

    line: Line
    address: str  # as printed, with the token

    @property
    def origin(self) -> str:
        return self.address.partition("/?")[0]

    def approval(self) -> dict[str, str]:
        """The approval of the model, as the registry knows it, and the reason."""
        found = self.line.client("sagemaker").describe_model_package(ModelPackageName=self._model())
        return {
            "status": found["ModelApprovalStatus"],
            "reason": found.get("ApprovalDescription", ""),
        }

    def set_approval(self, status: str) -> None:
        """As somebody would who works with AWS's own console."""
        if self.approval()["status"] != status:
            self.line.client("sagemaker").update_model_package(
                ModelPackageArn=self._model(), ModelApprovalStatus=status
            )

    def decisions(self) -> list[dict[str, Any]]:
        """What is recorded of decisions, as the files in the models bucket tell."""
        s3, bucket = self.line.client("s3"), self._bucket("models")
        listed = s3.list_objects_v2(Bucket=bucket, Prefix="decisions/").get("Contents", [])
        bodies = [s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed]
        return [json.loads(body) for body in bodies]

    def result(self, upload: str, name: str) -> bytes:
        """A file of an upload's results, as it lies in the bucket."""
        s3, bucket = self.line.client("s3"), self._bucket("results")
        listed = s3.list_objects_v2(Bucket=bucket, Prefix="results/").get("Contents", [])
        (key,) = [one["Key"] for one in listed if one["Key"].endswith(f"/{upload}/{name}")]
        content: bytes = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def uploads(self) -> int:
        """How many files have arrived."""
        s3, bucket = self.line.client("s3"), self._bucket("predictions")
        return len(s3.list_objects_v2(Bucket=bucket, Prefix="incoming/").get("Contents", []))

    def execution(self) -> str:
        """The id of the run that registered the model."""
        found = self.line.client("sagemaker").describe_model_package(ModelPackageName=self._model())
        return str(found["CustomerMetadataProperties"]["execution"]).rpartition("/")[2]

    def _model(self) -> str:
        sagemaker = self.line.client("sagemaker")
        (group,) = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
        listed = sagemaker.list_model_packages(
            ModelPackageGroupName=group["ModelPackageGroupName"], SortOrder="Ascending"
        )
        return str(listed["ModelPackageSummaryList"][VERSION - 1]["ModelPackageArn"])

    def _bucket(self, purpose: str) -> str:
        names = [one["Name"] for one in self.line.client("s3").list_buckets()["Buckets"]]
        return next(name for name in names if re.search(rf"-{purpose}-", name))


@contextlib.contextmanager
def line_with_a_model(folder: Path) -> Iterator[Line]:
    """A local cloud with one run behind it, whose model nobody has decided on."""
    with new_line(folder) as line:
        line.up()
        line.run("pipeline", "upsert")
        found = line.json("pipeline", "status", line.start(), "--watch")
        assert found["status"] == "Succeeded"
        yield line


@contextlib.contextmanager
def open_desk(line: Line) -> Iterator[Desk]:
    """The command, until it is told to end."""
    log = line.folder / "desk.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", "desk", "--port", "0", "--no-browser"],
            cwd=line.folder,
            env=line.environment,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    assert process.stdout is not None
    said = process.stdout.readline().strip()
    assert said.startswith("http://127.0.0.1:"), log.read_text()
    try:
        yield Desk(line, said)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(15)
        process.stdout.close()
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text()
