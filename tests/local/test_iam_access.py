"""Whatever runs as a role may do what its policies say, and nothing else; and hears why not."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from pipelines.local.iam.access import Access
from pipelines.local.moto_bridge import Role
from tests.local.local_cloud import (
    ACCOUNT,
    BUCKET,
    REGION,
    ROLE,
    Cloud,
    Document,
    create_function,
    definition,
    folder,
    invoke,
    make_role,
    processing,
    register,
    script_file,
    training,
    unique,
    wait_for,
)

SHOW_KEY = (
    "import json, os, pathlib\n"
    "names = ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY')\n"
    "pathlib.Path({to!r}).write_text(json.dumps([os.environ.get(name) for name in names]))"
)


def statement(actions: Any, resources: Any = "*", effect: str = "Allow", **more: Any) -> Document:
    return {"Effect": effect, "Action": actions, "Resource": resources, **more}


class Actor:
    """Clients with the key of a role, found as a function of the role finds it."""

    def __init__(self, cloud: Cloud, role: str) -> None:
        source = (
            "import os\n"
            "def handler(event, context):\n"
            "    return [os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_SECRET_ACCESS_KEY']]"
        )
        name = create_function(cloud, source, role=role)
        answer = cloud.client("lambda").invoke(FunctionName=name)
        self._cloud = cloud
        self.role = role
        self.key, self.secret = json.loads(answer["Payload"].read())

    def __call__(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._cloud.endpoint,
            region_name=REGION,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(
                retries={"max_attempts": 0},
                signature_version="s3v4" if service == "s3" else "v4",  # presigned addresses, too
            ),
        )


def act_as(cloud: Cloud, *statements: Document) -> Actor:
    return Actor(cloud, make_role(cloud, unique("role"), *statements))


@given(st.text(max_size=40), st.text(max_size=40))
def test_each_role_has_a_key_of_its_own_that_only_the_secret_leads_to(one: str, two: str) -> None:
    roles = {name: Role(name, (), "{}") for name in (one, two)}
    access, other = (Access(secret, roles) for secret in ("secret", "another"))
    caller = access.caller(access.key(one))
    assert caller and caller.role == one
    assert (access.key(one) == access.key(two)) == (one == two)
    assert other.caller(access.key(one)) is None
    assert access.key("gone") not in (access.key(name) for name in roles)


def test_a_role_without_a_policy_may_do_nothing_but_ask_who_it_is(cloud: Cloud) -> None:
    actor = act_as(cloud)
    with pytest.raises(ClientError, match="AccessDenied"):
        actor("s3").list_buckets()
    name = actor.role.rpartition("/")[2]
    said = actor("sts").get_caller_identity()
    assert said["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/local"
    assert said["Account"] == ACCOUNT


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "code", "action", "resource"),
    [
        (
            *("s3", "get_object", {"Bucket": "b", "Key": "k & <l>"}, "AccessDenied"),
            *("s3:GetObject", "arn:aws:s3:::b/k & <l>"),
        ),
        (
            *("sagemaker", "describe_pipeline", {"PipelineName": "p"}, "AccessDeniedException"),
            *("sagemaker:DescribePipeline", f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/p"),
        ),
        (
            *("batch", "list_jobs", {"jobQueue": "q"}, "AccessDeniedException"),
            *("batch:ListJobs", "*"),
        ),
        (
            *("lambda", "invoke", {"FunctionName": "f"}, "AccessDeniedException"),
            *("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"),
        ),
        (
            *("sqs", "get_queue_url", {"QueueName": "q"}, "AccessDenied"),
            *("sqs:GetQueueUrl", f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"),
        ),
        (
            *("sns", "list_topics", {}, "AuthorizationError"),
            *("sns:ListTopics", "*"),
        ),
        (
            *("iam", "get_role", {"RoleName": "r"}, "AccessDenied"),
            *("iam:GetRole", f"arn:aws:iam::{ACCOUNT}:role/r"),
        ),
        (
            *("events", "put_events", {"Entries": [{"Source": "s"}]}, "AccessDeniedException"),
            *("events:PutEvents", f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"),
        ),
    ],
)
def test_a_refusal_reads_as_the_service_writes_it_and_is_in_the_log(
    cloud: Cloud,
    nobody: Actor,
    service: str,
    operation: str,
    parameters: Document,
    code: str,
    action: str,
    resource: str,
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(nobody(service), operation)(**parameters)
    error = refused.value.response["Error"]
    sentence = (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{nobody.role.rpartition('/')[2]}/local is not "
        f"authorized to perform: {action} on resource: {resource} because no identity-based "
        f"policy allows the {action} action"
    )
    assert (error["Code"], error["Message"]) == (code, sentence)
    assert f"refused: {sentence}" in cloud.log.read_text()


@pytest.fixture(scope="module")
def nobody(cloud: Cloud) -> Actor:
    return act_as(cloud)


def test_an_explicit_deny_is_told_as_such(cloud: Cloud) -> None:
    actor = act_as(cloud, statement("*"), statement("s3:DeleteObject", effect="Deny"))
    cloud.put("x", "denied/x")
    with pytest.raises(ClientError, match="with an explicit deny in an identity-based policy"):
        actor("s3").delete_object(Bucket=BUCKET, Key="denied/x")
    assert actor("s3").get_object(Bucket=BUCKET, Key="denied/x")["Body"].read() == b"x"


def test_an_action_that_cannot_be_named_is_refused_to_a_role_that_may_do_all(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="cannot name the resources of sagemaker:ListEndpoints"):
        act_as(cloud, statement("*"))("sagemaker").list_endpoints()


def test_a_change_of_a_policy_counts_at_once(cloud: Cloud) -> None:
    actor, iam = act_as(cloud), cloud.client("iam")
    name = actor.role.rpartition("/")[2]
    place = {"Bucket": BUCKET, "Key": unique("changed")}
    document = {"Version": "2012-10-17", "Statement": [statement("s3:PutObject")]}

    def may() -> bool:
        try:
            actor("s3").put_object(**place)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied"
            return False
        return True

    assert not may()
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(document))
    assert may()
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    assert not may()
    arn = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(document))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    assert may()
    iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    iam.delete_role(RoleName=name)
    assert not may()


def test_a_missing_object_is_told_to_those_alone_who_may_list(cloud: Cloud) -> None:
    read = statement("s3:GetObject", f"arn:aws:s3:::{BUCKET}/*")
    everything = statement("s3:ListBucket", f"arn:aws:s3:::{BUCKET}")
    prefix = {"Condition": {"StringLike": {"s3:prefix": "a/*"}}}
    missing = {"Bucket": BUCKET, "Key": "a/missing"}
    for more, code in (([], "403"), ([everything], "404"), ([{**everything, **prefix}], "403")):
        s3 = act_as(cloud, read, *more)("s3")
        with pytest.raises(ClientError) as refused:
            s3.head_object(**missing)
        assert refused.value.response["Error"]["Code"] == code
        with pytest.raises(ClientError) as refused:
            s3.get_object(**missing)
        expected = "NoSuchKey" if code == "404" else "AccessDenied"
        assert refused.value.response["Error"]["Code"] == expected


def test_a_listing_is_allowed_below_a_prefix_alone(cloud: Cloud) -> None:
    only: Document = {"Condition": {"StringLike": {"s3:prefix": ["a", "a/*"]}}}
    s3 = act_as(cloud, statement("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", **only))("s3")
    s3.list_objects_v2(Bucket=BUCKET, Prefix="a/b")
    for prefix in ("", "b", "ab"):
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)


def test_a_copy_needs_the_source_and_many_are_deleted_only_if_each_may_be(cloud: Cloud) -> None:
    place = unique("copy")
    arn = f"arn:aws:s3:::{BUCKET}/{place}"
    write = ["s3:PutObject", "s3:DeleteObject"]
    s3 = act_as(cloud, statement(write, f"{arn}/to/*"), statement("s3:GetObject", f"{arn}/open/*"))(
        "s3"
    )
    for name in ("open/x", "closed/x"):
        cloud.put("x", f"{place}/{name}")
    target = {"Bucket": BUCKET, "Key": f"{place}/to/x"}
    s3.copy_object(**target, CopySource={"Bucket": BUCKET, "Key": f"{place}/open/x"})
    with pytest.raises(ClientError, match=r"s3:GetObject on resource: .*/closed/x"):
        s3.copy_object(**target, CopySource={"Bucket": BUCKET, "Key": f"{place}/closed/x"})
    keys = [{"Key": f"{place}/{name}"} for name in ("to/x", "open/x")]
    with pytest.raises(ClientError, match=r"s3:DeleteObject on resource: .*/open/x"):
        s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys})
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": keys[:1]})
    assert cloud.keys(f"s3://{BUCKET}/{place}/") == ["closed/x", "open/x"]


def test_a_presigned_address_may_what_its_role_may(cloud: Cloud) -> None:
    place = unique("presigned")
    s3 = act_as(cloud, statement("s3:GetObject", f"arn:aws:s3:::{BUCKET}/{place}/open"))("s3")
    for name in ("open", "closed"):
        cloud.put("x", f"{place}/{name}")
    address = [
        s3.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": f"{place}/{name}"})
        for name in ("open", "closed")
    ]
    assert urllib.request.urlopen(address[0]).read() == b"x"  # noqa: S310
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(address[1])  # noqa: S310


# What the local cloud starts.


def test_a_job_fetches_and_leaves_what_its_role_may(cloud: Cloud) -> None:
    data, output = cloud.put("x"), folder()
    step = processing("A", "open('processing/o/x', 'w')", inputs={"i": data}, outputs={"o": output})
    for actions, reason in (
        (["s3:ListBucket"], "Forbidden"),
        (["s3:ListBucket", "s3:GetObject"], "s3:PutObject"),
        (["s3:ListBucket", "s3:GetObject", "s3:PutObject"], ""),
    ):
        step["Arguments"]["RoleArn"] = make_role(cloud, unique("role"), statement(actions))
        run = cloud.run(step)
        assert (run["PipelineExecutionStatus"] == "Succeeded") is (not reason), run
        if reason:
            assert "ClientError: " in run["FailureReason"] and reason in run["FailureReason"]
    assert cloud.keys(output) == ["x"]


def test_each_process_acts_as_its_role(cloud: Cloud, tmp_path: Path) -> None:
    role = make_role(cloud, unique("role"), statement("s3:*"))
    key = [Actor(cloud, role).key, "local"]
    for kind in (training, processing):
        step = kind("A", SHOW_KEY.format(to=str(tmp_path / kind.__name__)))
        step["Arguments"]["RoleArn"] = role
        assert cloud.run(step)["PipelineExecutionStatus"] == "Succeeded"
        assert json.loads((tmp_path / kind.__name__).read_text()) == key
    for name, roles, expected in (("with", {"jobRoleArn": role}, key), ("none", {}, [None, None])):
        path = tmp_path / name
        run_batch_job(cloud, SHOW_KEY.format(to=str(path)), roles)
        assert json.loads(wait_for(partial(content, path))) == expected


def content(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def run_batch_job(cloud: Cloud, script: str, roles: dict[str, str]) -> None:
    batch, name = cloud.client("batch"), unique("definition")
    batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties={
            "image": "t/plain:1",
            "command": ["python", "-S", script_file(script)],
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"},
                {"type": "MEMORY", "value": "512"},
            ],
            **roles,
        },
    )
    batch.submit_job(jobName=name, jobQueue="t-test-predict", jobDefinition=name)


@pytest.mark.parametrize("kind", [training, processing])
def test_a_role_that_sagemaker_cannot_be_is_refused(cloud: Cloud, kind: Any) -> None:
    trust = {"Version": "2012-10-17", "Statement": []}
    lonely = unique("lonely")
    cloud.client("iam").create_role(RoleName=lonely, AssumeRolePolicyDocument=json.dumps(trust))
    for name in ("nobody", lonely):
        step = kind("A", "")
        step["Arguments"]["RoleArn"] = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        assert (
            f"Could not assume role arn:aws:iam::{ACCOUNT}:role/{name}"
            in (cloud.run(step)["FailureReason"])
        )


def test_a_function_needs_a_role_that_exists(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        create_function(cloud, "", role=f"arn:aws:iam::{ACCOUNT}:role/nobody")


# Pipelines act as the pipeline's role.

GROUP = "arn:aws:sagemaker:*:*:model-package"
PASS = statement(
    "iam:PassRole",
    ROLE,
    Condition={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
)
CREATE = statement(
    ["sagemaker:CreateTrainingJob", "sagemaker:CreateProcessingJob"],
    ["arn:aws:sagemaker:*:*:training-job/pipelines-*", "arn:aws:sagemaker:*:*:processing-job/*"],
)


def run_as(cloud: Cloud, statements: tuple[Document, ...], *steps: Document) -> Document:
    """Runs steps as a pipeline whose role has a policy of these statements."""
    role = make_role(cloud, unique("pipeline"), *statements)
    name = unique("p")
    cloud.client("sagemaker").create_pipeline(
        PipelineName=name, RoleArn=role, PipelineDefinition=definition(*steps)
    )
    return cloud.finish(cloud.start(name))


@pytest.mark.parametrize("kind", [training, processing])
def test_a_pipeline_starts_jobs_and_passes_roles_as_its_role_may(cloud: Cloud, kind: Any) -> None:
    step, name = kind("A", ""), kind.__name__.title()
    assert run_as(cloud, (CREATE, PASS), step)["PipelineExecutionStatus"] == "Succeeded"
    said = run_as(cloud, (PASS,), step)["FailureReason"]
    assert f"ClientError: Failed to invoke sagemaker:Create{name}Job. Error Details: User: " in said
    assert f"perform: sagemaker:Create{name}Job on resource: arn:aws:sagemaker:" in said
    to_lambda = {"Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}}
    for passing in ((), ({**PASS, "Resource": f"{ROLE}-else"},), ({**PASS, **to_lambda},)):
        said = run_as(cloud, (CREATE, *passing), step)["FailureReason"]
        assert f"perform: iam:PassRole on resource: {ROLE} because" in said


def test_a_pipeline_invokes_and_registers_as_its_role_may(cloud: Cloud) -> None:
    function = create_function(cloud, "def handler(event, context): return {}")
    group = unique("group")
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=group)
    steps = (invoke("A", function), register("B", group, "s3://b/model.tar.gz"))
    call = statement("lambda:InvokeFunction", f"arn:aws:lambda:*:*:function:{function}")
    create = statement("sagemaker:CreateModelPackage", f"{GROUP}/{group}/*")
    assert run_as(cloud, (call, create), *steps)["PipelineExecutionStatus"] == "Succeeded"
    assert "lambda:InvokeFunction" in run_as(cloud, (create,), *steps)["FailureReason"]
    other = {**create, "Resource": f"{GROUP}/other/*"}
    assert "sagemaker:CreateModelPackage" in run_as(cloud, (call, other), *steps)["FailureReason"]
