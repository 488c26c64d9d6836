"""What `Ref` and `Fn::GetAtt` of a resource give, as far as it follows from its name.

From the CloudFormation template reference, "Return values" of each type.
"""

from __future__ import annotations

_HERE = "{region}:{account}"
_KEY = "00000000-0000-0000-0000-000000000000"  # AWS gives a key its id

# type → Ref (under None) and attributes
_ATTRIBUTES: dict[str, dict[str | None, str]] = {
    "AWS::Batch::ComputeEnvironment": {None: f"arn:aws:batch:{_HERE}:compute-environment/{{name}}"},
    "AWS::Batch::JobDefinition": {None: f"arn:aws:batch:{_HERE}:job-definition/{{name}}"},
    "AWS::Batch::JobQueue": {None: f"arn:aws:batch:{_HERE}:job-queue/{{name}}"},
    "AWS::ECR::Repository": {
        "Arn": f"arn:aws:ecr:{_HERE}:repository/{{name}}",
        "RepositoryUri": "{account}.dkr.ecr.{region}.amazonaws.com/{name}",
    },
    "AWS::Events::Rule": {"Arn": f"arn:aws:events:{_HERE}:rule/{{name}}"},
    "AWS::IAM::ManagedPolicy": {None: "arn:aws:iam::{account}:policy/{name}"},
    "AWS::IAM::Role": {"Arn": "arn:aws:iam::{account}:role/{name}"},
    "AWS::KMS::Key": {None: _KEY, "Arn": f"arn:aws:kms:{_HERE}:key/{_KEY}"},
    "AWS::Lambda::Function": {"Arn": f"arn:aws:lambda:{_HERE}:function:{{name}}"},
    "AWS::Logs::LogGroup": {"Arn": f"arn:aws:logs:{_HERE}:log-group:{{name}}:*"},
    "AWS::S3::Bucket": {
        "Arn": "arn:aws:s3:::{name}",
        "DomainName": "{name}.s3.amazonaws.com",
        "RegionalDomainName": "{name}.s3.{region}.amazonaws.com",
    },
    "AWS::SNS::Topic": {
        None: f"arn:aws:sns:{_HERE}:{{name}}",
        "TopicArn": f"arn:aws:sns:{_HERE}:{{name}}",
        "TopicName": "{name}",
    },
    "AWS::SQS::Queue": {
        None: "{queues}/{account}/{name}",
        "QueueUrl": "{queues}/{account}/{name}",
        "Arn": f"arn:aws:sqs:{_HERE}:{{name}}",
        "QueueName": "{name}",
    },
    "AWS::SageMaker::ModelPackageGroup": {
        None: f"arn:aws:sagemaker:{_HERE}:model-package-group/{{name}}"
    },
}


def attribute_of(kind: str, attribute: str | None) -> str:
    """A format string of `id`, `name`, `account`, `region` and `queues` (the host of queue URLs).

    What does not follow from the name is a stand-in, made of the resource's id; one of the right
    form where it is an ARN.
    """
    known = _ATTRIBUTES.get(kind, {})
    found = known.get(attribute)
    if found is None and attribute == f"{kind.rpartition('::')[2]}Arn":
        found = known.get(None)
    if found is not None:
        return found
    if attribute is None:
        return "{name}"
    if attribute.endswith("Arn"):
        _, service, resource = kind.lower().split("::")
        return f"arn:aws:{service}:{_HERE}:{resource}/{{name}}"
    return f"{{id}}.{attribute}"
