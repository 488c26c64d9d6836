"""A deployment on moto's server for the tests of what people see of it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any

import boto3

from batch import manifest
from batch.manifest import Manifest
from batch.tally import Tally
from lambdas import layout
from lambdas.submissions import Submission
from pipelines.aws import Aws
from pipelines.settings import Bucket, Settings
from pipelines.uploads import Uploads
from tests.conftest import make_buckets

SETTINGS = Settings(account="123456789012", region="eu-west-1")
GROUP = SETTINGS.model_package_group
BUCKETS: tuple[Bucket, ...] = ("data", "models", "predictions", "results")


class Deployment:
    """Buckets, queues, a model package group and a pipeline without steps."""

    def __init__(self) -> None:
        self.aws = Aws(Settings(region="eu-west-1"))
        self.s3 = boto3.client("s3")
        self.sqs = boto3.client("sqs")
        self.sagemaker = boto3.client("sagemaker")
        make_buckets(*[SETTINGS.bucket(purpose) for purpose in BUCKETS])
        for purpose in BUCKETS:
            self.s3.put_bucket_versioning(
                Bucket=SETTINGS.bucket(purpose), VersioningConfiguration={"Status": "Enabled"}
            )
        names = (
            *(SETTINGS.upload_queue, SETTINGS.notice_queue, SETTINGS.dead_letter_queue),
            *(SETTINGS.labelled_queue, SETTINGS.registered_queue),
        )
        self.queues = {name: self.sqs.create_queue(QueueName=name)["QueueUrl"] for name in names}
        self.sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
        self.sagemaker.create_pipeline(
            PipelineName=SETTINGS.pipeline_name,
            PipelineDefinition='{"Version": "2020-12-01", "Steps": []}',
            RoleArn=SETTINGS.role_arn("pipeline"),
        )

    def register(self, status: str = "Approved", why: str = "") -> str:
        """Registers the next version, whose artifact holds its number."""
        arn = self.sagemaker.create_model_package(
            ModelPackageGroupName=GROUP,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={
                "Containers": [{"Image": "image", "ModelDataUrl": "s3://placeholder/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        )["ModelPackageArn"]
        if status != "PendingManualApproval":
            self.sagemaker.update_model_package(
                ModelPackageArn=arn, ModelApprovalStatus=status, ApprovalDescription=why
            )
        return arn

    def upload(self, name: str = "claims.csv", body: bytes = b"text\na\n") -> str:
        """Puts a file as the claims team does, and returns the upload's id."""
        bucket, key = SETTINGS.bucket("predictions"), layout.INCOMING + name
        put = self.s3.put_object(Bucket=bucket, Key=key, Body=body)
        return layout.upload_id(bucket, key, put["VersionId"])

    def submit(self, status: str, reason: str = "", attempt: int = 1) -> str:
        """Submits a job that is in this state, and returns its id."""
        from moto.batch.models import batch_backends
        from moto.core.config import default_user_config

        default_user_config["batch"] = {"use_docker": False}
        batch = boto3.client("batch")
        if not batch.describe_job_queues()["jobQueues"]:
            self._make_job_queue(batch)
        names = {"jobQueue": SETTINGS.job_queue, "jobDefinition": SETTINGS.job_definition}
        job_id: str = batch.submit_job(jobName=f"predict-{attempt}", **names)["jobId"]
        while batch.describe_jobs(jobs=[job_id])["jobs"][0]["status"] != "SUCCEEDED":
            time.sleep(0.01)
        job = batch_backends[SETTINGS.account or ""]["eu-west-1"].get_job_by_id(job_id)
        job.status, job.job_stopped_reason = status, reason
        return job_id

    def record(self, upload: str, job_id: str = "", **more: Any) -> str:
        """Records a submission as the function does, and returns where its results lie."""
        uploads = Uploads(self.aws)
        found = next(one for one in uploads._all() if one.id == upload)
        now = datetime.now(timezone.utc).isoformat()
        prefix = layout.results_prefix(found.key, upload)
        submission = Submission(
            upload_id=upload,
            bucket=found.bucket,
            key=found.key,
            version=found.version,
            etag=found.etag,
            size=found.size or 0,
            results_bucket=SETTINGS.bucket("results"),
            results_prefix=prefix,
            model_package_arn=f"arn:aws:sagemaker:eu-west-1:1:model-package/{GROUP}/3",
            model_package_version=3,
            job_name=layout.job_name(upload),
            claimed_at=now,
            claimed_until=now,
            job_id=job_id,
            submitted_at=now if job_id else "",
        )
        self.put("results", layout.submission_key(upload), asdict(replace(submission, **more)))
        return prefix

    def settle(self, upload: str, prefix: str, reason: str = "", **more: Any) -> None:
        """Writes the manifest that a job leaves, failed if there is a reason."""
        tally = Tally(predicted=10, rejected=2, for_review=3, labels={"fire": 7, "water": 3})
        tally.confidence[90] = 10
        done = Manifest(
            **manifest.told(
                Tally() if reason else tally,
                {},
                reason,
                "" if reason else "predictions.csv",
                prefix,
            ),
            upload_id=upload,
            bucket=SETTINGS.bucket("predictions"),
            key="incoming/claims.csv",
            version="v",
            etag="e",
            model_package_arn=f"arn:aws:sagemaker:eu-west-1:1:model-package/{GROUP}/3",
            model_package_version=3,
            approval_status="Approved",
            artifact_sha256="",
            bytes_in=100,
            seconds=1.5,
            code_version="abc",
            job_id="job",
        )
        self.put("results", prefix + manifest.NAME, {**asdict(done), **more})

    def put(self, purpose: Bucket, key: str, document: Any) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.s3.put_object(Bucket=SETTINGS.bucket(purpose), Key=key, Body=body)

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """Takes everything out of a queue."""
        taken: list[dict[str, Any]] = []
        url = self.queues[queue]
        while found := self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for one in found:
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
                taken.append({**one, "Document": json.loads(one["Body"])})
        return taken

    def _make_job_queue(self, batch: Any) -> None:
        role = boto3.client("iam").create_role(RoleName="batch", AssumeRolePolicyDocument="{}")
        environment = batch.create_compute_environment(
            computeEnvironmentName="any", type="UNMANAGED", serviceRole=role["Role"]["Arn"]
        )["computeEnvironmentArn"]
        batch.create_job_queue(
            jobQueueName=SETTINGS.job_queue,
            state="ENABLED",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
        )
        batch.register_job_definition(
            jobDefinitionName=SETTINGS.job_definition,
            type="container",
            containerProperties={"image": "gluon", "vcpus": 1, "memory": 1024},
        )
