"""S3, Batch, SageMaker, SQS and SNS in memory: as much of them as the functions use, and as fast
as a property test needs. `test_fakes.py` holds them against moto and the local cloud.

Every request passes through `call`, so that a test can let it fail, or the caller die.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

Call = Callable[[str, Callable[[], Any]], Any]


class NoSuchKeyError(ClientError):
    """As boto3's `client.exceptions.NoSuchKey`."""


def client_error(code: str, status: int, kind: type[ClientError] = ClientError) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": code},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return kind(answer, "Any")


def at_once(_name: str, effect: Callable[[], Any]) -> Any:
    """A request to which nothing happens."""
    return effect()


@dataclass
class Pages:
    """A paginator with one page."""

    listing: Callable[..., dict[str, Any]]

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        yield self.listing(**request)


@dataclass(frozen=True)
class Object:
    key: str
    body: bytes
    etag: str
    version: str
    time: datetime


@dataclass
class FakeS3:
    """Buckets, all with versioning."""

    now: Callable[[], datetime]
    call: Call = at_once
    buckets: dict[str, dict[str, list[Object]]] = field(default_factory=dict)
    _writes: int = 0

    class exceptions:  # noqa: N801 - boto3's name
        NoSuchKey = NoSuchKeyError

    def put_object(self, **request: Any) -> Any:
        return self.call("put_object", lambda: self._put(**request))

    def get_object(
        self,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        VersionId: str = "",  # noqa: N803
        IfMatch: str = "",  # noqa: N803
    ) -> Any:
        def get() -> dict[str, Any]:
            found = self._one(Bucket, Key, VersionId)
            if IfMatch and IfMatch != found.etag:
                raise client_error("PreconditionFailed", 412)
            return {"Body": io.BytesIO(found.body), "ETag": found.etag}

        return self.call("get_object", get)

    def copy_object(
        self,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        CopySource: dict[str, str],  # noqa: N803
        CopySourceIfMatch: str,  # noqa: N803
        TaggingDirective: str,  # noqa: ARG002, N803
    ) -> None:
        def copy() -> None:
            found = self._one(
                CopySource["Bucket"], CopySource["Key"], CopySource.get("VersionId", "")
            )
            if CopySourceIfMatch != found.etag:
                raise client_error("PreconditionFailed", 412)
            self._put(Bucket, Key, found.body)

        self.call("copy_object", copy)

    def delete_object(self, Bucket: str, Key: str) -> None:  # noqa: N803
        self.call("delete_object", lambda: self._bucket(Bucket).pop(Key, None))

    def get_paginator(self, name: str) -> Pages:
        if name == "list_object_versions":
            return Pages(lambda **request: self.list_object_versions(**request, MaxKeys=1000))

        def listing(Bucket: str, Prefix: str) -> dict[str, Any]:  # noqa: N803
            keys = [key for key in sorted(self._bucket(Bucket)) if key.startswith(Prefix)]
            found = [self._bucket(Bucket)[key][0] for key in keys]
            return {"Contents": [{"Key": one.key, "LastModified": one.time} for one in found]}

        return Pages(lambda **request: self.call("list_objects_v2", lambda: listing(**request)))

    def list_object_versions(
        self,
        Bucket: str,  # noqa: N803
        Prefix: str,  # noqa: N803
        MaxKeys: int,  # noqa: N803
        KeyMarker: str = "",  # noqa: N803
        VersionIdMarker: str = "",  # noqa: N803
    ) -> Any:
        def listing() -> dict[str, Any]:
            everything = [
                one
                for key, versions in sorted(self._bucket(Bucket).items())
                if key.startswith(Prefix)
                for one in versions
            ]
            begin = 0
            for number, one in enumerate(everything):
                if KeyMarker and (one.key, one.version) == (KeyMarker, VersionIdMarker):
                    begin = number + 1
            shown = everything[begin : begin + MaxKeys]
            more = begin + MaxKeys < len(everything)
            markers = {}
            if more:
                markers = {
                    "NextKeyMarker": shown[-1].key,
                    "NextVersionIdMarker": shown[-1].version,
                }
            return {
                "IsTruncated": more,
                **markers,
                "Versions": [
                    {
                        "Key": one.key,
                        "VersionId": one.version,
                        "ETag": one.etag,
                        "Size": len(one.body),
                        "LastModified": one.time,
                        "IsLatest": one is self.newest(Bucket, one.key),
                    }
                    for one in shown
                ],
            }

        return self.call("list_object_versions", listing)

    def newest(self, bucket: str, key: str) -> Object | None:
        """The current version of an object."""
        return self._bucket(bucket).get(key, [None])[0]

    def _one(self, bucket: str, key: str, version: str) -> Object:
        """A version of an object, without one the newest."""
        versions = self._bucket(bucket).get(key, [])
        for found in versions:
            if version in ("", found.version):
                return found
        if version:
            raise client_error("NoSuchVersion", 404)
        raise client_error("NoSuchKey", 404, NoSuchKeyError)

    def _put(
        self,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        IfNoneMatch: str = "",  # noqa: N803
        IfMatch: str = "",  # noqa: N803
        ContentType: str = "",  # noqa: ARG002, N803
    ) -> dict[str, Any]:
        found = self.newest(Bucket, Key)
        if IfNoneMatch and found is not None:
            raise client_error("PreconditionFailed", 412)
        if IfMatch and found is None:
            raise client_error("NoSuchKey", 404, NoSuchKeyError)
        if IfMatch and found is not None and IfMatch != found.etag:
            raise client_error("PreconditionFailed", 412)
        versions = self._bucket(Bucket).setdefault(Key, [])
        etag = '"' + hashlib.md5(Body, usedforsecurity=False).hexdigest() + '"'
        self._writes += 1
        version = f"v{self._writes}"
        versions.insert(0, Object(Key, Body, etag, version, self.now()))
        return {"ETag": etag, "VersionId": version}

    def _bucket(self, name: str) -> dict[str, list[Object]]:
        return self.buckets.setdefault(name, {})


@dataclass
class FakeBatch:
    """Jobs of one queue: by id, in the order in which they were submitted."""

    call: Call = at_once
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def submit_job(self, **request: Any) -> Any:
        def submit() -> dict[str, str]:
            job_id = f"job-{len(self.jobs) + 1}"
            self.jobs[job_id] = {**request, "jobId": job_id, "status": "RUNNING"}
            return {"jobId": job_id}

        return self.call("submit_job", submit)

    def describe_jobs(self, jobs: list[str]) -> Any:
        found = [self.jobs[each] for each in jobs if each in self.jobs]
        return self.call("describe_jobs", lambda: {"jobs": found})

    def get_paginator(self, _name: str) -> Pages:
        def listing(jobQueue: str, filters: Any) -> dict[str, Any]:  # noqa: N803
            names = [name.lower() for name in filters[0]["values"]]
            found = [
                {"jobName": job["jobName"], "jobId": job["jobId"]}
                for job in self.jobs.values()
                if job["jobName"].lower() in names
            ]
            return {"jobSummaryList": found}

        return Pages(lambda **request: self.call("list_jobs", lambda: listing(**request)))


@dataclass
class FakeSageMaker:
    """Versions of one group: their approval status by number."""

    call: Call = at_once
    versions: dict[int, str] = field(default_factory=dict)

    def get_paginator(self, _name: str) -> Pages:
        def listing(ModelPackageGroupName: str, **_order: str) -> dict[str, Any]:  # noqa: N803
            found = [
                {"ModelPackageVersion": one, "ModelPackageArn": self.arn(one)}
                for one, status in self.versions.items()
                if status == "Approved"
            ]
            return {"ModelPackageSummaryList": found}

        return Pages(lambda **request: self.call("list_packages", lambda: listing(**request)))

    def describe_model_package(self, ModelPackageName: str) -> Any:  # noqa: N803
        status = self.versions[int(ModelPackageName.rpartition("/")[2])]
        containers = [{"ModelDataUrl": "s3://models/model.tar.gz"}]
        return self.call(
            "describe_package",
            lambda: {
                "ModelApprovalStatus": status,
                "InferenceSpecification": {"Containers": containers},
            },
        )

    @staticmethod
    def arn(version: int) -> str:
        return f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/claims/{version}"


@dataclass
class FakeSqs:
    """What was sent, by the queue's URL."""

    call: Call = at_once
    sent: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def send_message(self, QueueUrl: str, **message: Any) -> None:  # noqa: N803
        self.call("send_message", lambda: self.sent.setdefault(QueueUrl, []).append(message))

    def send_message_batch(self, QueueUrl: str, Entries: list[Any]) -> Any:  # noqa: N803
        def send() -> dict[str, Any]:
            self.sent.setdefault(QueueUrl, []).extend(Entries)
            return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

        return self.call("send_message_batch", send)


@dataclass
class FakeSns:
    """What was published."""

    call: Call = at_once
    published: list[dict[str, str]] = field(default_factory=list)

    def publish(self, **message: str) -> None:
        self.call("publish", lambda: self.published.append(message))


class ResourceNotFoundError(ClientError):
    """As boto3's `client.exceptions.ResourceNotFound`."""


@dataclass
class FakePipeline:
    """One pipeline of SageMaker and its executions, which end only if they are told to.

    `definition` is what is stored, None without a pipeline. An execution is a document with
    `Definition`, `Parameters` (those that were given), `Status`, `Steps` (names), `Token`, `Time`.
    """

    now: Callable[[], datetime]
    call: Call = at_once
    definition: dict[str, Any] | None = None
    executions: dict[str, dict[str, Any]] = field(default_factory=dict)

    class exceptions:  # noqa: N801 - boto3's name
        ResourceNotFound = ResourceNotFoundError

    def describe_pipeline(self, PipelineName: str) -> Any:  # noqa: ARG002, N803
        return self.call("describe_pipeline", lambda: {"PipelineDefinition": self._stored()})

    def describe_pipeline_definition_for_execution(
        self,
        PipelineExecutionArn: str,  # noqa: N803
    ) -> Any:
        found = self.executions[PipelineExecutionArn]["Definition"]
        return self.call("describe_definition", lambda: {"PipelineDefinition": found})

    def start_pipeline_execution(
        self,
        PipelineName: str,  # noqa: N803
        PipelineParameters: list[dict[str, str]],  # noqa: N803
        ClientRequestToken: str,  # noqa: N803
    ) -> Any:
        def start() -> dict[str, str]:
            text = self._stored()
            for arn, one in self.executions.items():
                if one["Token"] == ClientRequestToken:
                    return {"PipelineExecutionArn": arn}
            known = [one["Name"] for one in json.loads(text)["Parameters"]]
            given = {one["Name"]: one["Value"] for one in PipelineParameters}
            if given.keys() - set(known):
                raise client_error("ValidationException", 400)
            arn = f"arn:aws:sagemaker:eu-west-1:123456789012:pipeline/{PipelineName}/execution/"
            arn += f"e{len(self.executions) + 1}"
            self.executions[arn] = {
                "Definition": text,
                "Parameters": given,
                "Status": "Executing",
                "Steps": [],
                "Token": ClientRequestToken,
                "Time": self.now(),
            }
            return {"PipelineExecutionArn": arn}

        return self.call("start_pipeline_execution", start)

    def get_paginator(self, name: str) -> Pages:
        def executions(**_request: str) -> dict[str, Any]:
            return {
                "PipelineExecutionSummaries": [
                    {
                        "PipelineExecutionArn": arn,
                        "StartTime": one["Time"],
                        "PipelineExecutionStatus": one["Status"],
                    }
                    for arn, one in reversed(self.executions.items())
                ]
            }

        def steps(PipelineExecutionArn: str) -> dict[str, Any]:  # noqa: N803
            names = self.executions[PipelineExecutionArn]["Steps"]
            return {"PipelineExecutionSteps": [{"StepName": one} for one in names]}

        def parameters(PipelineExecutionArn: str) -> dict[str, Any]:  # noqa: N803
            given = self.executions[PipelineExecutionArn]["Parameters"]
            return {
                "PipelineParameters": [
                    {"Name": one, "Value": value} for one, value in given.items()
                ]
            }

        listing: Any = {
            "list_pipeline_executions": executions,
            "list_pipeline_execution_steps": steps,
            "list_pipeline_parameters_for_execution": parameters,
        }[name]
        return Pages(lambda **request: self.call(name, lambda: listing(**request)))

    def _stored(self) -> str:
        if self.definition is None:
            raise client_error("ResourceNotFound", 400, ResourceNotFoundError)
        return json.dumps(self.definition)
