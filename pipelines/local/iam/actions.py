"""What an operation of a service needs allowed: its action, with the ARN of each resource.

Names of actions and their resources are those of AWS's service authorization reference
(https://docs.aws.amazon.com/service-authorization/latest/reference/). An operation that is not in
the tables here cannot be named, and so is refused to a role.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from pipelines.local.aws_json import Request, ServiceError, service_model
from pipelines.local.iam.context import Context, Place, in_context, request_keys
from pipelines.local.iam.policies import Call

Resource = Callable[[Place, Request], str]

# A name of SageMaker's or Batch's, with a version, a revision or an index.
_NAME = re.compile(r"[\w-]+([:/]\d+)?")


def operation_calls(service: str, operation: str, parameters: Request, place: Place) -> list[Call]:
    """What an operation of a service needs allowed: also what it does with the caller's rights.

    Raises
    ------
    ServiceError
        It cannot be named.
    """
    entries = parameters.get("Entries") if operation == "PutEvents" else None
    if isinstance(entries, list) and len(entries) > 1:  # each is checked by itself
        apart = [operation_calls(service, operation, {"Entries": [one]}, place) for one in entries]
        return [call for calls in apart for call in calls]
    action = _ACTIONS.get((service, operation), operation)
    resources = _RESOURCES.get(service, {}).get(operation)
    if resources is None and service == "iam" and _is_operation(service, operation):
        resources = _identity
    if resources is None:
        message = f"The local cloud cannot name the resources of {service}:{operation} for a role"
        raise ServiceError("AccessDeniedException", message, 403)
    try:
        context = request_keys(service, operation, parameters)
        arns = [one(place, parameters) for one in _as_tuple(resources)]
    except (LookupError, TypeError, ValueError, AttributeError):
        message = f"{service}:{operation} lacks what names its resource"
        raise ServiceError("ValidationException", message) from None
    for arn in arns:
        if not _is_here(arn, place):
            message = f"{arn} is not in account {place.account} and region {place.region}"
            raise ServiceError("AccessDeniedException", message, 403)
    found = [Call(f"{service}:{action}", arn, context) for arn in arns]
    found += _consequences(service, operation, parameters, arns, context)
    return [in_context(call, place) for call in found]


def _consequences(
    service: str, operation: str, parameters: Request, arns: list[str], context: Context
) -> Iterator[Call]:
    """What else is checked: the roles that are passed on, and the tags that are set on the way."""
    passed_to = _PASSED_TO.get((service, operation))
    for role in _roles_in(parameters) if passed_to else []:
        yield Call("iam:PassRole", role, {"iam:passedtoservice": (passed_to or "",)})
    if service == "sagemaker" and operation.startswith("Create") and parameters.get("Tags"):
        yield Call(
            "sagemaker:AddTags", arns[0], {**context, "sagemaker:taggingaction": (operation,)}
        )
    if (service, operation) == ("batch", "SubmitJob") and parameters.get("tags"):
        # The job has no id yet.
        job = re.sub(r":job-(queue|definition)/.*", ":job/*", arns[0])
        yield Call("batch:TagResource", job, context)


def _roles_in(document: Any) -> Iterator[str]:
    """The roles that a document names, wherever it does."""
    if isinstance(document, list):
        for one in document:
            yield from _roles_in(one)
    elif isinstance(document, dict):
        for name, value in document.items():
            if isinstance(value, str) and value and name.lower().endswith(("role", "rolearn")):
                yield value
            else:
                yield from _roles_in(value)


def _is_operation(service: str, operation: str) -> bool:
    return operation in service_model(service).operation_names


def _is_here(arn: str, place: Place) -> bool:
    """Whether a resource is in the one account and region that there are here."""
    _, _, _, region, account, *_ = [*arn.split(":", 5), *[""] * 5]
    return region in ("", place.region) and account in ("", place.account, "aws")


# The tables. Resources by the parameters that name them.


def _any(_place: Place, _parameters: Request) -> str:
    return "*"


def _given(name: str) -> Resource:
    """A parameter that is an ARN."""
    return lambda _, parameters: str(parameters[name])


def _named(service: str, kind: str, name: str) -> Resource:
    """A parameter that is a name, or an ARN already."""

    def resource(place: Place, parameters: Request) -> str:
        value = str(parameters[name])
        start = place.arn(service, kind)
        if value.startswith("arn:") and not value.startswith(start):
            return value  # not here, or of another kind: no name of ours
        short = value.removeprefix(start)
        if service in ("sagemaker", "batch") and not _NAME.fullmatch(short):
            raise ValueError(short)
        return f"{start}{short}"

    return resource


def _queue(place: Place, parameters: Request) -> str:
    if "QueueUrl" not in parameters:
        return place.arn("sqs", parameters["QueueName"])
    account, name = parameters["QueueUrl"].rstrip("/").split("/")[-2:]
    return f"arn:aws:sqs:{place.region}:{account}:{name}"


def _of_group(place: Place, parameters: Request) -> str:
    """The packages of a group, where the request names none of them yet."""
    group = _named("sagemaker", "model-package-group/", "ModelPackageGroupName")(place, parameters)
    return group.replace(":model-package-group/", ":model-package/", 1) + "/*"


def _definition(place: Place, parameters: Request) -> str:
    return _named("batch", "job-definition/", "jobDefinition")(place, parameters)


def _revision(place: Place, parameters: Request) -> str:
    """With its revision, which a name alone leaves open.

    AWS's pages disagree on whether a request without a revision is checked with one ("Accounting
    for job definition revisions": yes; "Restrict job submission by resource tags": no), so that
    a policy has to allow both.
    """
    arn = _definition(place, parameters)
    return arn if re.search(r":\d+$", arn) else f"{arn}:*"


def _log_stream(place: Place, parameters: Request) -> str:
    group, stream = parameters["logGroupName"], parameters.get("logStreamName", "")
    return place.arn("logs", f"log-group:{group}:log-stream:{stream}")


def _event_bus(place: Place, parameters: Request) -> str:
    name = parameters["Entries"][0].get("EventBusName", "default")
    return name if name.startswith("arn:") else place.arn("events", f"event-bus/{name}")


def _function(place: Place, parameters: Request) -> str:
    name = parameters["FunctionName"]  # or an ARN, or a part of one
    if name.startswith("arn:"):
        return str(name)
    short = name.removeprefix(f"{place.account}:function:")
    if not re.fullmatch(r"[\w-]+(:[\w$-]+)?", short):
        raise ValueError(short)
    return place.arn("lambda", f"function:{short}")


def _published_to(_place: Place, parameters: Request) -> str:
    """A topic or a device, or a telephone."""
    names = ("TopicArn", "TargetArn", "PhoneNumber")
    (name,) = [one for one in names if one in parameters]
    return "*" if name == "PhoneNumber" else str(parameters[name])


def _key(place: Place, parameters: Request) -> str:
    return _named("kms", "key/", "KeyId")(place, parameters) if "KeyId" in parameters else "*"


def _identity(place: Place, parameters: Request) -> str:
    """IAM: a role, a policy or a user; ARNs without a region."""
    for name, kind in (("RoleName", "role"), ("PolicyArn", ""), ("UserName", "user")):
        if name in parameters:
            value = parameters[name]
            return value if not kind else f"arn:aws:iam::{place.account}:{kind}/{value}"
    return "*"


def _table(service: str, kind: str, name: str, operations: str) -> dict[str, Resource]:
    return dict.fromkeys(operations.split(), _named(service, kind, name))


_TRAINING, _PROCESSING = "training-job/", "processing-job/"
_EXECUTION = (
    "DescribePipelineExecution StopPipelineExecution UpdatePipelineExecution "
    "RetryPipelineExecution ListPipelineExecutionSteps ListPipelineParametersForExecution "
    "DescribePipelineDefinitionForExecution"
)
_RESOURCES: dict[str, dict[str, Resource | tuple[Resource, ...]]] = {
    "sagemaker": {
        **_table(
            *("sagemaker", _TRAINING, "TrainingJobName"),
            "CreateTrainingJob DescribeTrainingJob StopTrainingJob",
        ),
        **_table(
            *("sagemaker", _PROCESSING, "ProcessingJobName"),
            "CreateProcessingJob DescribeProcessingJob StopProcessingJob",
        ),
        **_table(
            *("sagemaker", "hyper-parameter-tuning-job/", "HyperParameterTuningJobName"),
            "CreateHyperParameterTuningJob DescribeHyperParameterTuningJob "
            "StopHyperParameterTuningJob ListTrainingJobsForHyperParameterTuningJob",
        ),
        **_table(
            *("sagemaker", "pipeline/", "PipelineName"),
            "CreatePipeline DescribePipeline UpdatePipeline DeletePipeline StartPipelineExecution "
            "ListPipelineExecutions",
        ),
        **dict.fromkeys(_EXECUTION.split(), _given("PipelineExecutionArn")),
        **_table(
            *("sagemaker", "model-package-group/", "ModelPackageGroupName"),
            "CreateModelPackageGroup DescribeModelPackageGroup DeleteModelPackageGroup",
        ),
        **_table(
            *("sagemaker", "model-package/", "ModelPackageName"),
            "DescribeModelPackage DeleteModelPackage",
        ),
        **dict.fromkeys(("CreateModelPackage", "ListModelPackages"), _of_group),
        "UpdateModelPackage": _given("ModelPackageArn"),
        **dict.fromkeys(("AddTags", "ListTags", "DeleteTags"), _given("ResourceArn")),
        **dict.fromkeys(
            (
                *("ListModelPackageGroups", "ListPipelines", "ListTrainingJobs"),
                *("ListProcessingJobs", "ListHyperParameterTuningJobs"),
            ),
            _any,
        ),
    },
    "batch": {
        "SubmitJob": (_named("batch", "job-queue/", "jobQueue"), _definition, _revision),
        **_table("batch", "job/", "jobId", "TerminateJob CancelJob"),
        **dict.fromkeys(
            ("ListJobs", "DescribeJobs", "DescribeJobQueues", "DescribeJobDefinitions"), _any
        ),
        "RegisterJobDefinition": _named("batch", "job-definition/", "jobDefinitionName"),
        "TagResource": _given("resourceArn"),
    },
    "lambda": {
        **dict.fromkeys(
            ("Invoke", "GetFunction", "GetFunctionConfiguration", "UpdateFunctionCode"), _function
        ),
        **dict.fromkeys(("CreateFunction", "UpdateFunctionConfiguration"), _function),
        "ListFunctions": _any,
    },
    "sqs": {
        **dict.fromkeys(
            (
                *("SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage"),
                *("DeleteMessageBatch", "ChangeMessageVisibility", "ChangeMessageVisibilityBatch"),
                *("GetQueueAttributes", "GetQueueUrl", "SetQueueAttributes", "PurgeQueue"),
                *("CreateQueue", "DeleteQueue", "ListDeadLetterSourceQueues"),
            ),
            _queue,
        ),
        "ListQueues": _any,
    },
    "sns": {
        **dict.fromkeys(
            ("PublishBatch", "Subscribe", "GetTopicAttributes", "SetTopicAttributes"),
            _given("TopicArn"),
        ),
        "Publish": _published_to,
        "ListTopics": _any,
    },
    "events": {
        "PutEvents": _event_bus,
        **_table("events", "rule/", "Name", "PutRule DescribeRule DeleteRule EnableRule"),
        "DisableRule": _named("events", "rule/", "Name"),
        **_table("events", "rule/", "Rule", "PutTargets RemoveTargets ListTargetsByRule"),
    },
    "logs": {
        **dict.fromkeys(("CreateLogStream", "PutLogEvents", "GetLogEvents"), _log_stream),
        **_table("logs", "log-group:", "logGroupName", "CreateLogGroup DescribeLogStreams"),
        "FilterLogEvents": _named("logs", "log-group:", "logGroupName"),
    },
    "kms": dict.fromkeys(("Decrypt", "Encrypt", "GenerateDataKey", "DescribeKey"), _key),
    "ecr": {
        "GetAuthorizationToken": _any,
        **_table(
            *("ecr", "repository/", "repositoryName"),
            "BatchGetImage GetDownloadUrlForLayer BatchCheckLayerAvailability PutImage "
            "InitiateLayerUpload UploadLayerPart CompleteLayerUpload DescribeImages",
        ),
    },
    "sts": {"GetCallerIdentity": (), "AssumeRole": _given("RoleArn")},
}

# Operations that share an action of another name.
_ACTIONS = {
    ("lambda", "Invoke"): "InvokeFunction",
    ("sqs", "SendMessageBatch"): "SendMessage",
    ("sqs", "DeleteMessageBatch"): "DeleteMessage",
    ("sqs", "ChangeMessageVisibilityBatch"): "ChangeMessageVisibility",
    ("sns", "PublishBatch"): "Publish",
}

# Operations that pass a role on, and the service that will act with it.
_PASSED_TO = {
    ("sagemaker", "CreateTrainingJob"): "sagemaker.amazonaws.com",
    ("sagemaker", "CreateProcessingJob"): "sagemaker.amazonaws.com",
    ("sagemaker", "CreateHyperParameterTuningJob"): "sagemaker.amazonaws.com",
    ("sagemaker", "CreatePipeline"): "sagemaker.amazonaws.com",
    ("sagemaker", "UpdatePipeline"): "sagemaker.amazonaws.com",
    ("lambda", "CreateFunction"): "lambda.amazonaws.com",
    ("lambda", "UpdateFunctionConfiguration"): "lambda.amazonaws.com",
    ("batch", "RegisterJobDefinition"): "ecs-tasks.amazonaws.com",
    ("events", "PutRule"): "events.amazonaws.com",
    ("events", "PutTargets"): "events.amazonaws.com",
}


def _as_tuple(resources: Resource | tuple[Resource, ...]) -> tuple[Resource, ...]:
    return resources if isinstance(resources, tuple) else (resources,)
