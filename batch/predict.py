"""The prediction job: one upload in; predictions, rejects, a report and, last, the manifest out.

Everything comes through the environment (`JobSettings`). The children of an array job each predict
a share of the file, and the last to finish, whichever it is, assembles the results; none waits for
another. Whatever dies at whatever line, the next attempt goes on from what was committed.

Exit codes, for the retry strategy of the job definition: 0 the upload is settled, or this child's
share is done; 2 the input or the model cannot be used (trying again is useless; the manifest says
why), 143 stopped by SIGTERM (a spot instance was taken away), 1 anything else.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from batch import manifest
from batch.job import Job
from batch.model import Loader, PinnedModel, load_classifier
from batch.settings import JobSettings
from batch.tally import Tally
from steps.container import Stopped
from steps.errors import InputError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient


def main(_argv: Sequence[str] | None = None) -> int:
    """The job's entry point; returns its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings = JobSettings.from_environment()
        return predict_upload(
            settings, boto3.client("s3"), boto3.client("sagemaker"), load_classifier
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Stopped:
        print("stopped by SIGTERM", file=sys.stderr)
        return 143
    except (BotoCoreError, ClientError) as error:  # AWS refuses or is out of reach: try again
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except Exception:  # a fault of ours: Batch tries again
        traceback.print_exc()
        return 1


def predict_upload(
    settings: JobSettings, s3: S3Client, sagemaker: SageMakerClient, load: Loader
) -> int:
    """Predicts one upload, or a share of it, unless it is settled; returns the exit code."""
    start = time.time()
    place = (settings.results_bucket, settings.results_prefix)
    if (settled := manifest.read(s3, *place)) is not None:
        return _already(settled["outcome"])
    with tempfile.TemporaryDirectory(prefix="predict-") as temporary:
        folder = Path(temporary)
        model = PinnedModel(s3, sagemaker, settings.model_package_arn, load, folder)
        job = Job(settings, s3, model, folder, start)
        try:
            document = job.shared() if settings.shards > 1 else job.alone()
        except InputError as error:
            document = job.manifest(Tally(), reason=str(error))
        except ClientError:
            if manifest.read(s3, *place) is None:
                raise
            document = None  # who settled the upload has deleted the shares that this job read
    if document is None:
        if (settled := manifest.read(s3, *place)) is not None:
            return _already(settled["outcome"])
        index = settings.aws_batch_job_array_index
        print(f"share {index} of {settings.shards} is predicted; others are still to come")
        return 0

    if not manifest.write(s3, *place, document):
        print("another job settled this upload first; nothing was changed")
    elif document.outcome == "succeeded" and settings.shards > 1:
        job.tidy()
    if document.reason:
        print(f"error: {document.reason}", file=sys.stderr)
        return 2
    print(
        f"predicted {document.predicted:,} rows with version {document.model_package_version} "
        f"({document.for_review:,} for review), rejected {document.rejected:,}"
    )
    return 0


def _already(outcome: str) -> int:
    print(f"this upload is settled: {outcome}; nothing was changed")
    return 0 if outcome == "succeeded" else 2


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stopped
