"""Where a report is kept: a file here, and a copy with the execution."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from pipelines.aws import Aws
from pipelines.report.run import Runs
from pipelines.report.run_page import run_page


@dataclass(frozen=True)
class Written:
    """A report that was written; `fault` says why there is no copy with the execution, if so."""

    path: Path
    address: str
    fault: str = ""


def write_report(aws: Aws, execution: str, path: Path | None = None) -> Written:
    """Writes the report on an execution (its ARN), into the state folder where no path is given,
    and beside what the execution left on S3, where the caller may."""
    settings = aws.settings
    identifier = execution.rpartition("/")[2]
    html = run_page(Runs(aws).of(execution)).encode("utf-8", "replace")
    path = path or settings.state / "reports" / f"{identifier}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(html)
    bucket, key = settings.bucket("models"), f"runs/{identifier}/report.html"
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
