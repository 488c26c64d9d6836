"""The condition keys of a call: those that every call has, and those of a service's request.

Their names are those of AWS's service authorization reference, in lower case; one that is known to
be absent from a request has no values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.local.aws_json import Request
from pipelines.local.iam.policies import Call, tag_context

Context = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Place:
    """Where the resources are."""

    account: str
    region: str

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def in_context(call: Call, place: Place) -> Call:
    """The call with the keys that are the same for all: TLS is AWS's part and taken as given."""
    account = (place.account,)
    return Call(
        call.action,
        call.resource,
        {
            "aws:securetransport": ("true",),
            "aws:requestedregion": (place.region,),
            "aws:principalaccount": account,
            "aws:resourceaccount": account,
            "aws:viaawsservice": ("false",),
            "aws:calledvia": (),
            "aws:sourceaccount": (),  # services alone have these two, when they call for themselves
            "aws:sourcearn": (),
            **call.context,
        },
    )


def request_keys(service: str, operation: str, parameters: Request) -> Context:
    """The keys that an operation's parameters give values to."""
    return _KEYS[service](operation, parameters) if service in _KEYS else {}


def _sagemaker_keys(operation: str, parameters: Request) -> Context:
    keys = tag_context(
        "aws:requesttag/", {one["Key"]: one["Value"] for one in parameters.get("Tags") or []}
    )
    if operation in ("CreateModelPackage", "UpdateModelPackage"):
        keys["sagemaker:modelapprovalstatus"] = _values(parameters.get("ModelApprovalStatus"))
    if operation == "CreateHyperParameterTuningJob":
        keys |= _job_keys(parameters.get("TrainingJobDefinition") or {})
    if operation in ("CreateTrainingJob", "CreateProcessingJob"):
        keys |= _job_keys(parameters)
    return keys


def _job_keys(parameters: Request) -> Context:
    cluster = (parameters.get("ProcessingResources") or {}).get("ClusterConfig") or {}
    cluster = parameters.get("ResourceConfig") or cluster
    output = parameters.get("OutputDataConfig", parameters.get("ProcessingOutputConfig")) or {}
    network = {**parameters, **(parameters.get("NetworkConfig") or {})}
    return {
        "sagemaker:instancetypes": _values(cluster.get("InstanceType")),
        "sagemaker:volumekmskey": _values(cluster.get("VolumeKmsKeyId")),
        "sagemaker:outputkmskey": _values(output.get("KmsKeyId")),
        "sagemaker:networkisolation": _values(network.get("EnableNetworkIsolation")),
        "sagemaker:intercontainertrafficencryption": _values(
            network.get("EnableInterContainerTrafficEncryption")
        ),
    }


def _batch_keys(_operation: str, parameters: Request) -> Context:
    return tag_context("aws:requesttag/", parameters.get("tags") or {})


def _event_keys(operation: str, parameters: Request) -> Context:
    if operation != "PutEvents":
        return {}
    (entry,) = parameters["Entries"]
    return {
        "events:source": _values(entry.get("Source")),
        "events:detail-type": _values(entry.get("DetailType")),
    }


_KEYS: dict[str, Callable[[str, Request], Context]] = {
    "sagemaker": _sagemaker_keys,
    "batch": _batch_keys,
    "events": _event_keys,
}


def _values(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (str(value).lower() if isinstance(value, bool) else str(value),)
