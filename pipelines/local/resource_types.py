"""How the local cloud makes, changes and removes one resource of each type, through the API.

A maker gets a resource with everything resolved. It may be there already, from an earlier
deployment or (buckets, the model registry) from an earlier start.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from pipelines.deployment.lambda_package import zip_lambdas
from pipelines.deployment.stacks import Planned
from pipelines.local.api_arguments import api_arguments

Client = Callable[[str], Any]
Maker = Callable[[Client, Planned], None]
Document = dict[str, Any]


@contextlib.contextmanager
def unless(*codes: str) -> Iterator[None]:
    """Passes over an error that says that there is nothing to do."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


def bucket(client: Client, resource: Planned) -> None:
    s3, name, given = client("s3"), resource.name, resource.properties
    region = s3.meta.region_name
    place = {"LocationConstraint": region}
    more = {} if region == "us-east-1" else {"CreateBucketConfiguration": place}
    with unless("BucketAlreadyOwnedByYou"):
        s3.create_bucket(Bucket=name, **more)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=given["VersioningConfiguration"])
    if "NotificationConfiguration" in given:
        s3.put_bucket_notification_configuration(
            Bucket=name, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
    rules = [_lifecycle_rule(rule) for rule in given["LifecycleConfiguration"]["Rules"]]
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})


def _lifecycle_rule(rule: Document) -> Document:
    """A rule as the API words it."""
    whole: Document = {"ID": rule["Id"], "Status": rule["Status"]}
    whole["Filter"] = {"Prefix": rule.get("Prefix", "")}
    expiration: Document = {}
    if "ExpirationInDays" in rule:
        expiration["Days"] = int(rule["ExpirationInDays"])
    if "ExpiredObjectDeleteMarker" in rule:
        expiration["ExpiredObjectDeleteMarker"] = rule["ExpiredObjectDeleteMarker"]
    if expiration:
        whole["Expiration"] = expiration
    for name, days in (
        ("NoncurrentVersionExpiration", "NoncurrentDays"),
        ("AbortIncompleteMultipartUpload", "DaysAfterInitiation"),
    ):
        if name in rule:
            whole[name] = {days: int(rule[name][days])}
    return whole


def role(client: Client, resource: Planned) -> None:
    iam, name, given = client("iam"), resource.name, resource.properties
    trust = json.dumps(given["AssumeRolePolicyDocument"])
    try:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    except iam.exceptions.EntityAlreadyExistsException:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)
        for old in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            iam.delete_role_policy(RoleName=name, PolicyName=old)
    for policy in given.get("Policies", []):
        iam.put_role_policy(
            RoleName=name,
            PolicyName=policy["PolicyName"],
            PolicyDocument=json.dumps(policy["PolicyDocument"]),
        )


def role_policy(client: Client, resource: Planned) -> None:
    given = resource.properties
    client("iam").put_role_policy(
        RoleName=given["RoleName"],
        PolicyName=given["PolicyName"],
        PolicyDocument=json.dumps(given["PolicyDocument"]),
    )


def repository(client: Client, resource: Planned) -> None:
    ecr, given = client("ecr"), dict(resource.properties)
    lifecycle = given.pop("LifecyclePolicy", None)
    with unless("RepositoryAlreadyExistsException"):
        ecr.create_repository(**api_arguments(ecr, "CreateRepository", given))
    if lifecycle:
        ecr.put_lifecycle_policy(
            repositoryName=resource.name, lifecyclePolicyText=lifecycle["LifecyclePolicyText"]
        )


def model_package_group(client: Client, resource: Planned) -> None:
    sagemaker = client("sagemaker")
    found = sagemaker.list_model_package_groups(NameContains=resource.name)
    names = {one["ModelPackageGroupName"] for one in found["ModelPackageGroupSummaryList"]}
    if resource.name not in names:
        arguments = api_arguments(sagemaker, "CreateModelPackageGroup", resource.properties)
        sagemaker.create_model_package_group(**arguments)


def compute_environment(client: Client, resource: Planned) -> None:
    """Its name and its limit only: the jobs run on this machine, and moto would start instances."""
    batch, ec2 = client("batch"), client("ec2")
    found = batch.describe_compute_environments(computeEnvironments=[resource.name])
    if found["computeEnvironments"]:
        return
    network = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]  # every account has a default one
    of_network = [{"Name": "vpc-id", "Values": [network]}]
    subnets = ec2.describe_subnets(Filters=of_network)["Subnets"]
    groups = ec2.describe_security_groups(Filters=of_network)["SecurityGroups"]
    batch.create_compute_environment(
        computeEnvironmentName=resource.name,
        serviceRole=_role_of_batch(client),
        type="MANAGED",
        state="ENABLED",
        computeResources={
            "type": "FARGATE",
            "maxvCpus": int(resource.properties["ComputeResources"]["MaxvCpus"]),
            "subnets": [one["SubnetId"] for one in subnets],
            "securityGroupIds": [one["GroupId"] for one in groups],
        },
    )


def _role_of_batch(client: Client) -> str:
    """The role that an account on AWS has from its first use of Batch on."""
    iam, service = client("iam"), "batch.amazonaws.com"
    found = iam.list_roles(PathPrefix=f"/aws-service-role/{service}/")["Roles"]
    role = found[0] if found else iam.create_service_linked_role(AWSServiceName=service)["Role"]
    return str(role["Arn"])


def job_queue(client: Client, resource: Planned) -> None:
    batch = client("batch")
    found = batch.describe_job_queues(jobQueues=[resource.name])
    arguments = api_arguments(batch, "CreateJobQueue", resource.properties)
    if not found["jobQueues"]:
        batch.create_job_queue(**arguments)
        return
    del arguments["jobQueueName"]
    batch.update_job_queue(jobQueue=resource.name, **arguments)


def job_definition(client: Client, resource: Planned) -> None:
    batch = client("batch")
    batch.register_job_definition(
        **api_arguments(batch, "RegisterJobDefinition", resource.properties)
    )


def function(client: Client, resource: Planned) -> None:
    """The code is today's, from this source tree; this machine's Python runs it, whatever the
    runtime says."""
    functions, given = client("lambda"), dict(resource.properties)
    del given["Code"]
    reserved = given.pop("ReservedConcurrentExecutions", None)
    code = zip_lambdas()
    arguments = api_arguments(functions, "CreateFunction", given)
    try:
        functions.create_function(**arguments, Code={"ZipFile": code})
    except functions.exceptions.ResourceConflictException:
        functions.update_function_code(FunctionName=resource.name, ZipFile=code)
        arguments = api_arguments(functions, "UpdateFunctionConfiguration", given)
        functions.update_function_configuration(**arguments)
    if reserved is not None:
        functions.put_function_concurrency(
            FunctionName=resource.name, ReservedConcurrentExecutions=int(reserved)
        )


def event_source_mapping(client: Client, resource: Planned) -> None:
    functions = client("lambda")
    arguments = api_arguments(functions, "CreateEventSourceMapping", resource.properties)
    remove_event_source_mapping(client, resource)
    functions.create_event_source_mapping(**arguments)


def remove_event_source_mapping(client: Client, resource: Planned) -> None:
    functions, given = client("lambda"), resource.properties
    found = functions.list_event_source_mappings(
        EventSourceArn=given["EventSourceArn"], FunctionName=given["FunctionName"]
    )
    for old in found["EventSourceMappings"]:
        functions.delete_event_source_mapping(UUID=old["UUID"])


def queue(client: Client, resource: Planned) -> None:
    sqs = client("sqs")
    attributes = {
        name: json.dumps(value) if isinstance(value, dict) else _text(value)
        for name, value in resource.properties.items()
        if name not in ("QueueName", "Tags")
    }
    try:
        sqs.create_queue(QueueName=resource.name, Attributes=attributes)
    except sqs.exceptions.QueueNameExists:  # with other attributes
        sqs.set_queue_attributes(QueueUrl=_queue_url(sqs, resource.name), Attributes=attributes)


def queue_policy(client: Client, resource: Planned) -> None:
    sqs, policy = client("sqs"), json.dumps(resource.properties["PolicyDocument"])
    for url in resource.properties["Queues"]:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})


def topic(client: Client, resource: Planned) -> None:
    sns = client("sns")
    made = sns.create_topic(Name=resource.name)["TopicArn"]
    for one in resource.properties.get("Subscription", []):
        sns.subscribe(TopicArn=made, Protocol=one["Protocol"], Endpoint=one["Endpoint"])


def topic_policy(client: Client, resource: Planned) -> None:
    sns, policy = client("sns"), json.dumps(resource.properties["PolicyDocument"])
    for arn in resource.properties["Topics"]:
        sns.set_topic_attributes(TopicArn=arn, AttributeName="Policy", AttributeValue=policy)


def subscription(client: Client, resource: Planned) -> None:
    sns = client("sns")
    sns.subscribe(**api_arguments(sns, "Subscribe", resource.properties))


def rule(client: Client, resource: Planned) -> None:
    events, given = client("events"), dict(resource.properties)
    targets = given.pop("Targets", [])
    if "EventPattern" in given:
        given["EventPattern"] = json.dumps(given["EventPattern"])
    events.put_rule(**api_arguments(events, "PutRule", given))
    arguments = api_arguments(events, "PutTargets", {"Rule": resource.name, "Targets": targets})
    old = events.list_targets_by_rule(Rule=resource.name)["Targets"]
    gone = {one["Id"] for one in old} - {one["Id"] for one in targets}
    if gone:
        events.remove_targets(Rule=resource.name, Ids=sorted(gone))
    events.put_targets(**arguments)


def log_group(client: Client, resource: Planned) -> None:
    logs, days = client("logs"), resource.properties["RetentionInDays"]
    with unless("ResourceAlreadyExistsException"):
        logs.create_log_group(logGroupName=resource.name)
    logs.put_retention_policy(logGroupName=resource.name, retentionInDays=int(days))


def remove_bucket(client: Client, resource: Planned) -> None:
    with unless("NoSuchBucket"):
        client("s3").delete_bucket(Bucket=resource.name)


def remove_role(client: Client, resource: Planned) -> None:
    iam = client("iam")
    with unless("NoSuchEntity"):
        for policy in iam.list_role_policies(RoleName=resource.name)["PolicyNames"]:
            iam.delete_role_policy(RoleName=resource.name, PolicyName=policy)
        iam.delete_role(RoleName=resource.name)


def remove_repository(client: Client, resource: Planned) -> None:
    with unless("RepositoryNotFoundException"):
        client("ecr").delete_repository(repositoryName=resource.name, force=True)


def remove_model_package_group(client: Client, resource: Planned) -> None:
    with unless("ValidationException"):
        client("sagemaker").delete_model_package_group(ModelPackageGroupName=resource.name)


def remove_compute_environment(client: Client, resource: Planned) -> None:
    batch = client("batch")
    batch.update_compute_environment(computeEnvironment=resource.name, state="DISABLED")
    batch.delete_compute_environment(computeEnvironment=resource.name)


def remove_job_queue(client: Client, resource: Planned) -> None:
    batch = client("batch")
    batch.update_job_queue(jobQueue=resource.name, state="DISABLED")
    batch.delete_job_queue(jobQueue=resource.name)


def remove_job_definition(client: Client, resource: Planned) -> None:
    batch = client("batch")
    found = batch.describe_job_definitions(jobDefinitionName=resource.name, status="ACTIVE")
    for one in found["jobDefinitions"]:
        batch.deregister_job_definition(jobDefinition=one["jobDefinitionArn"])


def remove_function(client: Client, resource: Planned) -> None:
    with unless("ResourceNotFoundException"):
        client("lambda").delete_function(FunctionName=resource.name)


def remove_queue(client: Client, resource: Planned) -> None:
    sqs = client("sqs")
    with unless("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"):
        sqs.delete_queue(QueueUrl=_queue_url(sqs, resource.name))


def remove_topic(client: Client, resource: Planned) -> None:
    sns = client("sns")
    for one in sns.list_topics()["Topics"]:
        if one["TopicArn"].endswith(f":{resource.name}"):
            sns.delete_topic(TopicArn=one["TopicArn"])


def remove_rule(client: Client, resource: Planned) -> None:
    events = client("events")
    with unless("ResourceNotFoundException"):
        targets = events.list_targets_by_rule(Rule=resource.name)["Targets"]
        if targets:
            events.remove_targets(Rule=resource.name, Ids=[one["Id"] for one in targets])
        events.delete_rule(Name=resource.name)


def remove_log_group(client: Client, resource: Planned) -> None:
    with unless("ResourceNotFoundException"):
        client("logs").delete_log_group(logGroupName=resource.name)


def goes_with_its_owner(_client: Client, _resource: Planned) -> None:
    """A policy or subscription goes with the role, queue or topic that it belongs to."""


def _queue_url(sqs: Any, name: str) -> str:
    return str(sqs.get_queue_url(QueueName=name)["QueueUrl"])


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


MAKERS: dict[str, tuple[Maker, Maker]] = {
    "AWS::Batch::ComputeEnvironment": (compute_environment, remove_compute_environment),
    "AWS::Batch::JobDefinition": (job_definition, remove_job_definition),
    "AWS::Batch::JobQueue": (job_queue, remove_job_queue),
    "AWS::ECR::Repository": (repository, remove_repository),
    "AWS::Events::Rule": (rule, remove_rule),
    "AWS::IAM::Role": (role, remove_role),
    "AWS::IAM::RolePolicy": (role_policy, goes_with_its_owner),
    "AWS::Lambda::EventSourceMapping": (event_source_mapping, remove_event_source_mapping),
    "AWS::Lambda::Function": (function, remove_function),
    "AWS::Logs::LogGroup": (log_group, remove_log_group),
    "AWS::S3::Bucket": (bucket, remove_bucket),
    "AWS::SNS::Subscription": (subscription, goes_with_its_owner),
    "AWS::SNS::Topic": (topic, remove_topic),
    "AWS::SNS::TopicPolicy": (topic_policy, goes_with_its_owner),
    "AWS::SQS::Queue": (queue, remove_queue),
    "AWS::SQS::QueuePolicy": (queue_policy, goes_with_its_owner),
    "AWS::SageMaker::ModelPackageGroup": (model_package_group, remove_model_package_group),
}

# What the local cloud does not have, and why it can do without.
NOT_HERE = {
    "AWS::CloudWatch::Alarm": "the machine's user sees what happens; nobody is called",
    "AWS::EC2::FlowLog": "there is no network to build: all is on a loopback address",
    "AWS::EC2::LaunchTemplate": "jobs run on this machine, no instance is started",
    "AWS::EC2::RouteTable": "there is no network to build",
    "AWS::EC2::SecurityGroup": "there is no network to build",
    "AWS::EC2::Subnet": "there is no network to build",
    "AWS::EC2::SubnetRouteTableAssociation": "there is no network to build",
    "AWS::EC2::VPC": "there is no network to build",
    "AWS::EC2::VPCEndpoint": "there is no network to build",
    "AWS::IAM::InstanceProfile": "jobs run on this machine, no instance is started",
    "AWS::IAM::OIDCProvider": "no CI signs in here",
    "AWS::KMS::Alias": "nothing here is encrypted with a key",
    "AWS::KMS::Key": "the state folder is its owner's alone to read; nothing in it is encrypted",
    "AWS::Lambda::Permission": "rules and steps of the one account may invoke its functions",
    "AWS::S3::BucketPolicy": "they deny what comes without TLS, as everything on loopback does",
    "AWS::SageMaker::MlflowTrackingServer": "MLflow's own server runs beside the local cloud",
}
