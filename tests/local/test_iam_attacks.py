"""Requests that would mean one thing to what judges them and another to what answers them.

moto reads a request loosely: it takes an action from a header, a form, an address or the text of a
message, a service from the first of several credentials, a key from a path that it decodes in its
own way. Each attack here has a role that may do one harmless thing, and a request that looks like
it; what the role may not do must not happen.
"""

from __future__ import annotations

import http.client
import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from botocore.exceptions import ClientError

from tests.local.local_cloud import (
    ACCOUNT,
    BUCKET,
    REGION,
    Cloud,
    create_function,
    definition,
    processing,
    unique,
)
from tests.local.test_iam_access import Actor, act_as, statement

SECRET = b"what nobody may read"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Scene:
    """A role that may read, write and delete below `open/`, and use one queue and one topic."""

    cloud: Cloud
    role: Actor
    queues: tuple[str, str]  # names: one that it may send to, one that it may not
    topics: tuple[str, str]  # ARNs, likewise

    def ask(
        self,
        service: str,
        method: str,
        address: str,
        body: bytes | Iterator[bytes] = b"",
        region: str = REGION,
        **headers: str,
    ) -> tuple[int, bytes]:
        """A request as no SDK would send it; `_` in the name of a header stands for `-`."""
        connection = http.client.HTTPConnection(self.cloud.endpoint.removeprefix("http://"))
        given = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope(self.role.key, service, region)}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        connection.request(method, address, body, given)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content

    def waiting(self, queue: str) -> int:
        """How many messages lie in a queue."""
        url = self.cloud.client("sqs").get_queue_url(QueueName=queue)["QueueUrl"]
        found = self.cloud.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(found["Attributes"]["ApproximateNumberOfMessages"])

    def is_there(self, key: str) -> bool:
        return key in self.cloud.keys(f"s3://{BUCKET}/")


def scope(key: str, service: str, region: str = REGION) -> str:
    return f"{key}/20260101/{region}/{service}/aws4_request"


@pytest.fixture(scope="module")
def scene(cloud: Cloud) -> Scene:
    queues, topics = (unique("may"), unique("not")), (unique("may"), unique("not"))
    for name in queues:
        cloud.client("sqs").create_queue(QueueName=name)
    arns = [cloud.client("sns").create_topic(Name=name)["TopicArn"] for name in topics]
    url = cloud.client("sqs").get_queue_url(QueueName=queues[1])["QueueUrl"]
    sqs = f"arn:aws:sqs:{REGION}:{ACCOUNT}"
    cloud.client("sns").subscribe(TopicArn=arns[1], Protocol="sqs", Endpoint=f"{sqs}:{queues[1]}")
    cloud.client("sqs").send_message(QueueUrl=url, MessageBody="stays")
    place = f"arn:aws:s3:::{BUCKET}"
    role = act_as(
        cloud,
        statement(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], f"{place}/open/*"),
        statement(["s3:GetObjectAcl", "s3:DeleteObjectAcl"], f"{place}/*"),
        statement(["s3:GetBucketAcl", "s3:PutBucketAcl"], place),
        statement("sqs:SendMessage", f"{sqs}:{queues[0]}"),
        statement("sns:Publish", arns[0]),
        statement("ecr:GetAuthorizationToken"),
    )
    cloud.put(SECRET.decode(), "closed/x")
    cloud.put("open", "open/x")
    return Scene(cloud, role, queues, (arns[0], arns[1]))


CLOSED, ENCODED = f"/{BUCKET}/closed/x", f"/{BUCKET}/closed%2Fx"


def test_the_role_of_these_tests_may_what_it_may(scene: Scene) -> None:
    assert scene.ask("s3", "GET", f"/{BUCKET}/open/x") == (200, b"open")
    assert scene.ask("s3", "GET", CLOSED)[0] == 403
    url = f"http://x/{ACCOUNT}/{scene.queues[0]}"
    before = scene.waiting(scene.queues[0])
    scene.role("sqs").send_message(QueueUrl=url, MessageBody="m")
    assert scene.waiting(scene.queues[0]) == before + 1
    scene.role("sns").publish(TopicArn=scene.topics[0], Message="m")


# Who asks, and for which service.


@pytest.mark.parametrize("first", ["s3", "sts"])
def test_of_two_credentials_neither_counts(scene: Scene, first: str) -> None:
    second = {"s3": "sts", "sts": "s3"}[first]
    key = scene.role.key
    both = f"AWS4-HMAC-SHA256 Credential={scope(key, first)}, Credential={scope(key, second)}"
    status, content = scene.ask(
        "s3", "GET", f"{CLOSED}?Action=GetCallerIdentity", Authorization=both
    )
    assert status == 403 and SECRET not in content


@pytest.mark.parametrize("service", ["sts", "sqs", "ecr", "sns"])
def test_an_address_is_signed_for_s3_alone(scene: Scene, service: str) -> None:
    query = {"X-Amz-Credential": scope(scene.role.key, service), "Action": "GetCallerIdentity"}
    status, content = scene.ask(
        *("s3", "GET", f"{CLOSED}?{urllib.parse.urlencode(query)}"),
        Authorization="",
        X_Amz_Target="x.GetAuthorizationToken",
    )
    assert status == 403 and SECRET not in content


@pytest.mark.parametrize("authorization", ["", "AWS x:y", "Bearer x", "AWS4-HMAC-SHA256"])
def test_a_request_without_a_signature_is_a_stranger_s(scene: Scene, authorization: str) -> None:
    status, content = scene.ask("s3", "GET", CLOSED, Authorization=authorization)
    assert status == 403 and SECRET not in content


def test_an_assumed_role_s_key_is_a_stranger_s(cloud: Cloud) -> None:
    """STS lets a role assume another where its policy does; nothing here takes such a key."""
    actor = act_as(cloud, statement("sts:AssumeRole"), statement("s3:*"))
    role = f"arn:aws:iam::{ACCOUNT}:role/everything"
    got = actor("sts").assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
    actor.key, actor.secret = got["AccessKeyId"], got["SecretAccessKey"]
    with pytest.raises(ClientError, match="not that of this local cloud"):
        actor("sqs").list_queues()
    with pytest.raises(ClientError, match="not authorized to perform: sts:AssumeRole"):
        act_as(cloud)("sts").assume_role(RoleArn=role, RoleSessionName="session")


# What is moto's own.


@pytest.mark.parametrize("service", ["s3", "sts", "sqs", "ecr", "lambda", "sagemaker"])
@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", "/moto-api/data.json"),
        ("POST", "/moto-api/reset"),
        ("GET", "//moto-api/data.json"),
        ("GET", "/moto%2Dapi/data.json"),
        ("GET", "/latest/meta-data/iam/security-credentials/"),
    ],
)
def test_what_governs_moto_is_reached_by_no_role(
    cloud: Cloud, scene: Scene, service: str, method: str, address: str
) -> None:
    actor = act_as(cloud, statement("*"))
    all_rights = Scene(cloud, actor, scene.queues, scene.topics)
    status, content = all_rights.ask(
        *(service, method, f"{address}?Action=GetCallerIdentity", b"{}"),
        X_Amz_Target="x.GetAuthorizationToken",
    )
    assert b"Bucket" not in content and status >= 400
    assert scene.is_there("closed/x")


# What is asked.


def test_an_action_beside_the_one_that_is_judged_does_not_count(scene: Scene) -> None:
    may, queue = scene.queues
    message = {"QueueUrl": f"http://x/{ACCOUNT}/{may}", "MessageBody": "x"}
    target = "AmazonSQS.SendMessage"
    purge = f"Action=PurgeQueue&QueueUrl=http://x/{ACCOUNT}/{queue}"
    inside = {**message, "MessageBody": f"x&{purge}&y="}
    for address, body, headers in (
        (f"/?{purge}", message, {}),
        (f"/{ACCOUNT}/{queue}?{purge}", message, {}),
        ("/", inside, {}),
        ("/", message, {"Action": "PurgeQueue"}),
        ("/", message, {"Content_Type": FORM}),
        ("/", inside, {"Content_Type": FORM}),
    ):
        scene.ask("sqs", "POST", address, json.dumps(body).encode(), X_Amz_Target=target, **headers)
        assert scene.waiting(queue) == 1
    before = scene.waiting(may)
    scene.role("sqs").send_message(QueueUrl=message["QueueUrl"], MessageBody=inside["MessageBody"])
    assert scene.waiting(may) == before + 1


def test_an_action_in_a_header_does_not_count(scene: Scene) -> None:
    _, content = scene.ask(
        *("ecr", "POST", "/"), X_Amz_Target="x.GetAuthorizationToken", Action="DescribeRepositories"
    )
    assert b"repositories" not in content


def multipart(**fields: str) -> bytes:
    parts = (
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return ("".join(parts) + "--b--\r\n").encode()


def test_a_topic_beside_the_one_that_is_judged_gets_nothing(scene: Scene) -> None:
    may, other = scene.topics
    fields = {"Action": "Publish", "Message": "m"}
    allowed = urllib.parse.urlencode({**fields, "TopicArn": may})
    forbidden = {**fields, "TopicArn": other}
    encoded = urllib.parse.urlencode(forbidden)
    for address, body, kind in (
        (f"/?{allowed}", multipart(**forbidden), "multipart/form-data; boundary=b"),
        (f"/?{encoded}", allowed.encode(), "text/plain"),
        (f"/?{allowed}", encoded.encode(), FORM),
        (f"/?{encoded}", allowed.encode(), FORM),
        ("/", f"{allowed}&TargetArn={other}".encode(), FORM),
        ("/", f"{allowed}&TopicArn={other}".encode(), FORM),
        ("/", f"TopicArn={other}&{allowed}".encode(), FORM),
        ("/", f"{allowed}&PhoneNumber=%2B491701234567".encode(), FORM),
    ):
        scene.ask("sns", "POST", address, body, Content_Type=kind)
        assert scene.waiting(scene.queues[1]) == 1


def test_an_operation_has_one_spelling(cloud: Cloud) -> None:
    """A policy that denies an action must not be got round by a name that moto knows as well."""
    actor = act_as(cloud, statement("iam:*"), statement("iam:CreateRole", effect="Deny"))
    asking = Scene(cloud, actor, ("", ""), ("", ""))
    for action in ("CreateRole", "create_role", "createRole", "Create_Role"):
        name = unique("made")
        body = f"Action={action}&Version=2010-05-08&RoleName={name}&AssumeRolePolicyDocument=%7B%7D"
        assert asking.ask("iam", "POST", "/", body.encode(), Content_Type=FORM)[0] >= 400
        with pytest.raises(ClientError, match="NoSuchEntity"):
            cloud.client("iam").get_role(RoleName=name)


@pytest.mark.parametrize("service", ["sqs", "ecr", "sns", "sts"])
def test_a_body_in_chunks_is_judged_as_it_is_answered(scene: Scene, service: str) -> None:
    purge = f"Action=PurgeQueue&QueueUrl=http://x/{ACCOUNT}/{scene.queues[1]}".encode()
    status, _ = scene.ask(
        *(service, "POST", "/", iter([purge])),
        X_Amz_Target="AmazonSQS.SendMessage",
        Content_Type=FORM,
    )
    assert status >= 400
    assert scene.waiting(scene.queues[1]) == 1


def test_another_region_or_account_is_not_this_cloud(scene: Scene) -> None:
    body = json.dumps({"QueueUrl": f"http://x/{ACCOUNT}/{scene.queues[0]}", "MessageBody": "x"})
    target = "AmazonSQS.SendMessage"
    for region, expected in ((REGION, 200), ("eu-west-1", 403)):
        status, _ = scene.ask("sqs", "POST", "/", body.encode(), region=region, X_Amz_Target=target)
        assert status == expected
    before = scene.waiting(scene.queues[0])
    for more in ({"X_Moto_Account_Id": "9" * 12}, {"User_Agent": "Boto3 region/eu-west-1"}):
        status, _ = scene.ask("sqs", "POST", "/", body.encode(), X_Amz_Target=target, **more)
        assert status == 200
    assert scene.waiting(scene.queues[0]) == before + 2


# Objects.


@pytest.mark.parametrize(
    "address",
    [
        f"/{BUCKET}/open/../closed/x",
        f"/{BUCKET}/open/..%2Fclosed%2Fx",
        f"/{BUCKET}/open/%2e%2e/closed/x",
        f"/{BUCKET}//closed/x",
        f"//{BUCKET}/closed/x",
        f"//{BUCKET}/open/../closed/x",
        f"/open/..{CLOSED}",
        f"/{BUCKET}%2Fclosed%2Fx",
        f"/{BUCKET}%2Fclosed/x",
        f"/{BUCKET}%252Fclosed/x",
        f"/{BUCKET}/closed%2fx",
        f"/{BUCKET}/closed/x;open",
        f"/{BUCKET}/closed/x%3Bopen/",
        f"/{BUCKET}/closed/x#/open/x",
        f"/{BUCKET}/closed/x%3Fopen",
        f"/{BUCKET}/closed%00/x",
        f"/{BUCKET.upper()}/closed/x",
        f"/./{BUCKET}/closed/x",
        f"http://127.0.0.1{CLOSED}",
        f"http://{BUCKET}.s3.amazonaws.com/closed/x",
        f"{CLOSED}?versionId=null&key=open/x",
        f"{CLOSED}?x-id=GetObject",
        f"/2015-03-31/..{CLOSED}",
        f"{ENCODED}?acl",
    ],
)
def test_no_way_of_writing_an_address_leads_to_a_closed_object(scene: Scene, address: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        host = f"127.0.0.1:{scene.cloud.endpoint.rpartition(':')[2]}"
        _, content = scene.ask("s3", method, address, b"", Host=host)
        assert SECRET not in content
    assert scene.cloud.read(f"s3://{BUCKET}/closed/x").encode() == SECRET


def test_a_bucket_in_the_name_of_the_host_is_refused(scene: Scene) -> None:
    for host in (f"{BUCKET}.s3.amazonaws.com", f"{BUCKET}.localhost", f"closed.{REGION}.s3:80"):
        status, content = scene.ask("s3", "GET", "/closed/x", Host=host)
        assert status == 403 and SECRET not in content


@pytest.mark.parametrize(
    ("method", "address", "kept"),
    [
        ("HEAD", f"{CLOSED}?acl", "closed/x"),
        ("DELETE", f"{CLOSED}?acl", "closed/x"),
        ("DELETE", f"{CLOSED}?tagging&acl", "closed/x"),
        ("GET", f"{CLOSED}?acl&attributes", "closed/x"),
        ("DELETE", f"/{BUCKET}?acl", "closed/x"),
        ("GET", f"/{BUCKET}?acl&policy", "closed/x"),
        ("GET", f"/{BUCKET}?acl&list-type=2", "closed/x"),
        ("GET", f"/{BUCKET}?acl&versions", "closed/x"),
        ("PUT", f"/{BUCKET}?acl&policy", "closed/x"),
        ("HEAD", f"/{BUCKET}?acl", "closed/x"),
    ],
)
def test_a_request_is_one_operation(scene: Scene, method: str, address: str, kept: str) -> None:
    status, content = scene.ask("s3", method, address)
    assert status == 403 and SECRET not in content
    assert scene.is_there(kept)


def test_what_an_address_asks_for_twice_is_judged_as_it_is_answered(scene: Scene) -> None:
    actor = act_as(
        scene.cloud,
        statement(
            *("s3:ListBucket", f"arn:aws:s3:::{BUCKET}"),
            Condition={"StringLike": {"s3:prefix": "open/*"}},
        ),
    )
    lists = Scene(scene.cloud, actor, scene.queues, scene.topics)
    for query in ("prefix=open/&prefix=closed/", "prefix=open/;prefix=closed/", "prefix=open/%00"):
        for version in ("1", "2"):
            _, content = lists.ask("s3", "GET", f"/{BUCKET}?list-type={version}&{query}")
            assert b"closed/x" not in content
    _, content = lists.ask(
        *("s3", "GET", f"/{BUCKET}?list-type=2&prefix=open/", b"prefix=closed/"), Content_Type=FORM
    )
    assert b"closed/x" not in content


@pytest.mark.parametrize(
    "source",
    [
        f"{BUCKET}/closed/x;open",
        f"{BUCKET}/closed/x#open",
        f"{BUCKET}/closed/x?open=1",
        f"{BUCKET}/open/..%2F..%2Fclosed/x",
        f"//host/{BUCKET}/closed/x",
        f"http://host/{BUCKET}/closed/x",
        f"{BUCKET}%2Fclosed%2Fx",
        f"arn:aws:s3:::{BUCKET}/closed/x",
    ],
)
def test_a_copy_takes_what_is_judged(scene: Scene, source: str) -> None:
    """The role may read objects of these very names, but not `closed/x`."""
    bucket = f"arn:aws:s3:::{BUCKET}"
    actor = act_as(
        scene.cloud,
        statement(["s3:PutObject", "s3:GetObject"], f"{bucket}/open/*"),
        statement(
            ["s3:GetObject", "s3:GetObjectVersion"],
            [f"{bucket}/closed/x?*", "arn:aws:s3:::host/*", "arn:aws:s3:::http://host/*"],
        ),
    )
    copies, name = Scene(scene.cloud, actor, scene.queues, scene.topics), unique("copy")
    copies.ask("s3", "PUT", f"/{BUCKET}/open/{name}", x_amz_copy_source=source)
    assert not scene.is_there(f"open/{name}")
    started = actor("s3").create_multipart_upload(Bucket=BUCKET, Key=f"open/{name}")
    upload = f"/{BUCKET}/open/{name}?partNumber=1&uploadId={started['UploadId']}"
    status, content = copies.ask("s3", "PUT", upload, x_amz_copy_source=source)
    assert status >= 400 or b"ETag" not in content


@pytest.mark.parametrize(
    "closed",
    [
        "<Object ><Key>closed/x</Key></Object>",
        "<Object><Key >closed/x</Key ></Object>",
        "<Object><Key>open/y</Key><Key>closed/x</Key></Object>",
        "<Object><Key><![CDATA[closed/x]]></Key></Object>",
        "<Object><Key>closed&#47;x</Key></Object>",
        "<Object><Key>clo<!-- -->sed/x</Key></Object>",
        "<!-- <Object> --><Object\n><Key>closed/x</Key></Object>",
        "<a:Object xmlns:a='urn:a'><Key>closed/x</Key></a:Object>",
        "<Object><VersionId></VersionId><Key>closed/x</Key></Object>",
    ],
)
def test_each_object_of_a_deletion_is_judged(scene: Scene, closed: str) -> None:
    for document in (
        f"<Delete><Object><Key>open/y</Key></Object>{closed}</Delete>",
        f"<Delete>{closed}</Delete>",
        f"<Delete xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>{closed}</Delete>",
    ):
        scene.ask("s3", "POST", f"/{BUCKET}?delete", document.encode())
        assert scene.is_there("closed/x")
    entity = '<!DOCTYPE d [<!ENTITY k "closed/x">]><Delete><Object><Key>&k;</Key></Object></Delete>'
    assert scene.ask("s3", "POST", f"/{BUCKET}?delete", entity.encode())[0] >= 400
    assert scene.is_there("closed/x")


def test_an_object_keeps_its_content_whatever_its_type(scene: Scene) -> None:
    body = b"key=closed/x&file=other&Action=DeleteObject"
    for kind in (FORM, "multipart/form-data; boundary=b", "text/plain", "application/json"):
        name = unique("typed")
        scene.ask("s3", "PUT", f"/{BUCKET}/open/{name}", body, Content_Type=kind)
        if scene.is_there(f"open/{name}"):
            assert scene.cloud.read(f"s3://{BUCKET}/open/{name}").encode() == body
    assert scene.cloud.read(f"s3://{BUCKET}/closed/x").encode() == SECRET


# Names of resources.


def test_a_name_behind_the_name_that_is_judged_is_not_taken(cloud: Cloud) -> None:
    batch, definitions = cloud.client("batch"), (unique("may"), unique("not"))
    for name in definitions:
        batch.register_job_definition(
            jobDefinitionName=name,
            type="container",
            containerProperties={
                "image": "t/plain:1",
                "command": ["python", "-c", ""],
                "resourceRequirements": [
                    {"type": "VCPU", "value": "1"},
                    {"type": "MEMORY", "value": "512"},
                ],
            },
        )
    allowed = f"arn:aws:batch:{REGION}:{ACCOUNT}:job-definition/{definitions[0]}"
    actor = act_as(
        cloud,
        statement(
            "batch:SubmitJob",
            [allowed, f"{allowed}:*", f"arn:aws:batch:{REGION}:{ACCOUNT}:job-queue/*"],
        ),
    )
    order = {"jobName": "j", "jobQueue": "t-test-predict"}
    actor("batch").submit_job(**order, jobDefinition=definitions[0])
    for name in (f"{allowed}:1/{definitions[1]}:1", f"{definitions[0]}:1/{definitions[1]}"):
        with pytest.raises(ClientError):
            actor("batch").submit_job(**order, jobDefinition=name)


def test_a_role_is_passed_on_wherever_a_definition_names_it(cloud: Cloud) -> None:
    passed = f"arn:aws:iam::{ACCOUNT}:role/harmless"
    actor = act_as(
        cloud, statement("batch:RegisterJobDefinition"), statement("iam:PassRole", passed)
    )
    asking = Scene(cloud, actor, ("", ""), ("", ""))
    everything = f"arn:aws:iam::{ACCOUNT}:role/everything"
    container = {"image": "i", "jobRoleArn": everything}
    for properties in (
        {"containerProperties": container},
        {"containerProperties": container, "jobRoleArn": passed},
        {"ecsProperties": {"taskProperties": [{"taskRoleArn": everything, "containers": []}]}},
        {"nodeProperties": {"nodeRangeProperties": [{"container": container}]}},
    ):
        body = {"jobDefinitionName": unique("definition"), "type": "container", **properties}
        status, content = asking.ask(
            "batch", "POST", "/v1/registerjobdefinition", json.dumps(body).encode()
        )
        assert status == 403 and b"iam:PassRole" in content


def test_a_pipeline_of_another_account_is_not_one_of_ours(cloud: Cloud) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/everything"
    name, prefix = unique("pipeline"), f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline"
    cloud.client("sagemaker").create_pipeline(
        PipelineName=name, RoleArn=role, PipelineDefinition=definition(processing("A", ""))
    )
    actor = act_as(
        cloud,
        statement("sagemaker:*"),
        statement("sagemaker:*", f"{prefix}/{name}", effect="Deny"),
    )
    for given in (
        name,
        f"{prefix}/{name}",
        f"arn:aws:sagemaker:{REGION}:{'9' * 12}:pipeline/{name}",
        f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:pipeline/{name}",
        f"{prefix}/other:pipeline/{name}",
    ):
        with pytest.raises(ClientError):
            actor("sagemaker").describe_pipeline(PipelineName=given)


def test_a_function_is_the_same_by_each_of_its_names(cloud: Cloud) -> None:
    may, other = (create_function(cloud, "def handler(event, context): return 1") for _ in "ab")
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{may}"
    actor = act_as(cloud, statement("lambda:InvokeFunction", arn))
    for name in (may, arn, f"{ACCOUNT}:function:{may}"):
        assert actor("lambda").invoke(FunctionName=name)["Payload"].read() == b"1"
    asking = Scene(cloud, actor, ("", ""), ("", ""))
    for label in (
        other,
        f"{may}%2F..%2F{other}",
        f"{may}%2Finvocations%2F{other}",
        f"arn%3Aaws%3Alambda%3A{REGION}%3A{'9' * 12}%3Afunction%3A{may}",
    ):
        status, _ = asking.ask("lambda", "POST", f"/2015-03-31/functions/{label}/invocations")
        assert status in (400, 403)
