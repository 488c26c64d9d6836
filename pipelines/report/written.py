"""Where a report is kept: a file here, and a copy with the execution."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from pipelines.aws import Aws
from pipelines.control import Control
from pipelines.report.run import Runs
from pipelines.report.run_page import run_page
from pipelines.state_folder import private


@dataclass(frozen=True)
class Written:
    """A report as a file here.

    Attributes
    ----------
    address: of the copy that is kept with the execution; empty where there is none.
    fault: why there is none although the execution has ended.
    kept_since: when it was made, where it was not made now.
    """

    path: Path
    address: str
    fault: str = ""
    kept_since: datetime | None = None


def kept_report(aws: Aws, execution: str, path: Path | None = None) -> Written:
    """The report that is kept with an execution (its ARN), as a file; a new one where there is none
    yet, or where the execution went on since: logs and jobs are forgotten, what is kept is not."""
    status = Control(aws).status(execution)
    if not status.has_ended:
        return write_report(aws, execution, path)
    bucket, key = _place(aws, execution)
    try:
        kept = aws.client("s3").get_object(Bucket=bucket, Key=key)
        html, since = kept["Body"].read(), kept["LastModified"]
    except (ClientError, BotoCoreError):
        return write_report(aws, execution, path)
    ends = [step.ended.replace(microsecond=0) for step in status.steps if step.ended]
    if ends and since < max(ends):  # S3 tells whole seconds
        return write_report(aws, execution, path)
    return Written(_written(aws, execution, path, html), f"s3://{bucket}/{key}", kept_since=since)


def write_report(aws: Aws, execution: str, path: Path | None = None) -> Written:
    """Writes the report on an execution (its ARN) anew: into the state folder where no path is
    given, and, once the execution has ended, beside what it left on S3, where the caller may."""
    run = Runs(aws).of(execution)
    html = run_page(run).encode("utf-8", "replace")
    path = _written(aws, execution, path, html)
    if not run.status.has_ended:
        return Written(path, "")
    bucket, key = _place(aws, execution)
    address = f"s3://{bucket}/{key}"
    try:
        aws.client("s3").put_object(
            Bucket=bucket, Key=key, Body=html, ContentType="text/html; charset=utf-8"
        )
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return Written(path, "", f"there is no copy at {address} ({code})")
    except BotoCoreError as error:
        return Written(path, "", f"there is no copy at {address} ({type(error).__name__})")
    return Written(path, address)


def write_with_texts(aws: Aws, execution: str, path: Path | None = None) -> Written:
    """Writes the report with the texts of the rows that the model got wrong. It stays here: no copy
    is kept with the execution, where others would read it."""
    html = run_page(Runs(aws).of(execution, with_texts=True)).encode("utf-8", "replace")
    return Written(_written(aws, execution, path, html, kind="-with-texts"), "")


def _place(aws: Aws, execution: str) -> tuple[str, str]:
    """Bucket and key of the copy."""
    return aws.settings.bucket("models"), f"runs/{execution.rpartition('/')[2]}/report.html"


def _written(aws: Aws, execution: str, path: Path | None, html: bytes, kind: str = "") -> Path:
    name = f"{execution.rpartition('/')[2]}{kind}.html"
    path = path or private(aws.settings.state) / "reports" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(html)
    return path
