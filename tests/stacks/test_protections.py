"""What a reviewer asks of every bucket, queue, log, key, alarm and machine."""

from __future__ import annotations

import os
import re
from typing import Any

from tests.stacks.conftest import Deployed, Found


def _denies_plain_http(document: dict[str, Any], arns: set[str]) -> bool:
    return any(
        statement["Effect"] == "Deny"
        and statement["Principal"] == "*"
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        and arns <= set(_list(statement["Resource"]))
        for statement in document["Statement"]
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _key(everything: Deployed) -> str:
    logs = everything.one("JobLogGroup")
    return str(logs.properties["KmsKeyId"])


def test_each_bucket_is_private_versioned_and_its_owners(everything: Deployed) -> None:
    for bucket in everything.of("AWS::S3::Bucket"):
        given = bucket.properties
        assert set(given["PublicAccessBlockConfiguration"].values()) == {True}, bucket
        assert len(given["PublicAccessBlockConfiguration"]) == 4, bucket
        assert given["VersioningConfiguration"] == {"Status": "Enabled"}, bucket
        assert given["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_each_bucket_is_encrypted_with_the_deployments_key(everything: Deployed) -> None:
    for bucket in everything.of("AWS::S3::Bucket"):
        (rule,) = bucket.properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        default = rule["ServerSideEncryptionByDefault"]
        if bucket.id == "LogsBucket":  # S3 delivers access logs to no other
            assert default == {"SSEAlgorithm": "AES256"}
        else:
            assert default["SSEAlgorithm"] == "aws:kms", bucket
            assert default["KMSMasterKeyID"] == _key(everything), bucket
            assert rule["BucketKeyEnabled"] is True, bucket


def test_each_bucket_is_reached_with_tls_only(everything: Deployed) -> None:
    policies = {
        policy.properties["Bucket"]: policy.properties["PolicyDocument"]
        for policy in everything.of("AWS::S3::BucketPolicy")
    }
    for bucket in everything.of("AWS::S3::Bucket"):
        name = bucket.properties["BucketName"]
        arn = f"arn:aws:s3:::{name}"
        assert _denies_plain_http(policies[name], {arn, f"{arn}/*"}), bucket


def test_access_to_each_bucket_is_logged(everything: Deployed) -> None:
    logs = everything.one("LogsBucket").properties["BucketName"]
    prefixes = []
    for bucket in everything.of("AWS::S3::Bucket"):
        if bucket.id != "LogsBucket":
            logging = bucket.properties["LoggingConfiguration"]
            assert logging["DestinationBucketName"] == logs, bucket
            prefixes.append(logging["LogFilePrefix"])
    assert len(set(prefixes)) == len(prefixes)


def test_no_bucket_keeps_old_versions_or_broken_uploads_for_ever(everything: Deployed) -> None:
    for bucket in everything.of("AWS::S3::Bucket"):
        rules = bucket.properties["LifecycleConfiguration"]["Rules"]
        assert all(rule["Status"] == "Enabled" for rule in rules), bucket
        whole = [rule for rule in rules if "Prefix" not in rule]
        assert any("NoncurrentVersionExpiration" in rule for rule in whole), bucket
        assert any("AbortIncompleteMultipartUpload" in rule for rule in whole), bucket


def test_what_holds_data_outlives_its_stack(everything: Deployed) -> None:
    kinds = {
        "AWS::S3::Bucket",
        "AWS::KMS::Key",
        "AWS::ECR::Repository",
        "AWS::SageMaker::ModelPackageGroup",
    }
    for one in everything.resources:
        if one.type in kinds:
            # Except where its stack could not be made: the next try would find the name taken.
            assert one.template.get("DeletionPolicy") == "RetainExceptOnCreate", one
            assert one.template.get("UpdateReplacePolicy") == "Retain", one


def test_the_key_is_rotated(everything: Deployed) -> None:
    (key,) = everything.of("AWS::KMS::Key")
    assert key.properties["EnableKeyRotation"] is True


def test_the_key_opens_itself_to_others_only_under_conditions(everything: Deployed) -> None:
    (key,) = everything.of("AWS::KMS::Key")
    whole, *others = key.properties["KeyPolicy"]["Statement"]
    assert whole["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}
    for statement in others:
        conditions = [one for part in statement["Condition"].values() for one in part.values()]
        assert "123456789012" in str(conditions), statement["Sid"]
        if statement["Principal"] == {"AWS": "*"}:
            assert statement["Condition"]["StringEquals"] == {"kms:CallerAccount": "123456789012"}
            for role in statement["Condition"]["ArnLike"]["aws:PrincipalArn"]:
                assert role.startswith("arn:aws:iam::123456789012:role/aws-service-role/")
                assert "*" not in role


def test_images_never_change_under_their_tag_and_are_scanned(everything: Deployed) -> None:
    for repository in everything.of("AWS::ECR::Repository"):
        assert repository.properties["ImageTagMutability"] == "IMMUTABLE", repository
        assert repository.properties["ImageScanningConfiguration"] == {"ScanOnPush": True}


def test_a_second_stage_finds_the_repositories_of_the_first(settings: Any) -> None:
    from tests.stacks.conftest import deploy

    second = deploy(settings, CreateRepositories="false")
    assert not [one for one in second.resources if one.type == "AWS::ECR::Repository"]


def test_each_queue_has_a_redrive_or_is_the_dead_letter_queue(everything: Deployed) -> None:
    dead = everything.one("DeadLetters")
    allowed = dead.properties["RedriveAllowPolicy"]
    arn = "arn:aws:sqs:eu-central-1:123456789012:"
    sources = []
    for queue in everything.of("AWS::SQS::Queue"):
        if queue.id != dead.id:
            redrive = queue.properties["RedrivePolicy"]
            assert redrive["deadLetterTargetArn"] == arn + dead.properties["QueueName"], queue
            assert redrive["maxReceiveCount"] >= 3, queue  # a claim may be held for one delivery
            sources.append(arn + queue.properties["QueueName"])
    assert allowed == {"redrivePermission": "byQueue", "sourceQueueArns": sources}
    # What is set aside must not expire sooner than what waits.
    retention = [one.properties["MessageRetentionPeriod"] for one in everything.of(dead.type)]
    assert dead.properties["MessageRetentionPeriod"] == max(retention)


def test_queues_and_topic_are_encrypted_and_reached_with_tls_only(everything: Deployed) -> None:
    policies = everything.of("AWS::SQS::QueuePolicy")
    for queue in everything.of("AWS::SQS::Queue"):
        arn = f"arn:aws:sqs:eu-central-1:123456789012:{queue.properties['QueueName']}"
        assert queue.properties["KmsMasterKeyId"] == _key(everything), queue
        assert any(_denies_plain_http(one.properties["PolicyDocument"], {arn}) for one in policies)
    (topic,) = everything.of("AWS::SNS::Topic")
    (policy,) = everything.of("AWS::SNS::TopicPolicy")
    assert topic.properties["KmsMasterKeyId"] == _key(everything)
    assert _denies_plain_http(policy.properties["PolicyDocument"], set(policy.properties["Topics"]))


def test_a_queue_lets_only_the_rules_send_that_have_it_as_target(everything: Deployed) -> None:
    targets: dict[str, set[str]] = {}
    for rule in everything.of("AWS::Events::Rule"):
        arn = f"arn:aws:events:eu-central-1:123456789012:rule/{rule.properties['Name']}"
        for target in rule.properties["Targets"]:
            targets.setdefault(target["Arn"], set()).add(arn)
    allowed: dict[str, set[str]] = {}
    for policy in everything.of("AWS::SQS::QueuePolicy"):
        for statement in policy.properties["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Allow":
                assert statement["Principal"] == {"Service": "events.amazonaws.com"}, policy
                assert statement["Action"] == "sqs:SendMessage", policy
                sources = statement["Condition"]["ArnEquals"]["aws:SourceArn"]
                allowed[statement["Resource"]] = set(sources)
    assert allowed == {arn: rules for arn, rules in targets.items() if ":sqs:" in arn}


def test_each_log_group_is_encrypted_and_ends(everything: Deployed) -> None:
    for group in everything.of("AWS::Logs::LogGroup"):
        assert group.properties["RetentionInDays"] == "90", group
        assert group.properties["KmsKeyId"] == _key(everything), group


def test_the_key_lets_the_logs_in_that_there_are(everything: Deployed) -> None:
    from fnmatch import fnmatchcase

    (key,) = everything.of("AWS::KMS::Key")
    (statement,) = [
        one for one in key.properties["KeyPolicy"]["Statement"] if one["Sid"] == "LogsAreEncrypted"
    ]
    pattern = statement["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    for group in everything.of("AWS::Logs::LogGroup"):
        name = group.properties["LogGroupName"]
        assert fnmatchcase(f"arn:aws:logs:eu-central-1:123456789012:log-group:{name}", pattern)


def test_each_function_writes_into_a_log_group_of_the_stack(everything: Deployed) -> None:
    groups = {one.properties["LogGroupName"] for one in everything.of("AWS::Logs::LogGroup")}
    for function in everything.of("AWS::Lambda::Function"):
        group = function.properties["LoggingConfig"]["LogGroup"]
        assert group in groups
        assert group == f"/aws/lambda/{function.properties['FunctionName']}"


def test_each_alarm_tells_somebody(everything: Deployed) -> None:
    (topic,) = everything.of("AWS::SNS::Topic")
    arn = f"arn:aws:sns:eu-central-1:123456789012:{topic.properties['TopicName']}"
    for alarm in everything.of("AWS::CloudWatch::Alarm"):
        assert alarm.properties["AlarmActions"] == [arn], alarm
        assert alarm.properties["AlarmDescription"], alarm
        assert alarm.properties.get("ActionsEnabled", True), alarm


def test_each_function_and_each_queue_has_an_alarm(everything: Deployed) -> None:
    watched = {
        dimension["Value"]
        for alarm in everything.of("AWS::CloudWatch::Alarm")
        for dimension in alarm.properties["Dimensions"]
    }
    names = [one.properties["FunctionName"] for one in everything.of("AWS::Lambda::Function")]
    names += [one.properties["QueueName"] for one in everything.of("AWS::SQS::Queue")]
    assert set(names) <= watched


def test_what_people_upload_and_get_ends_after_the_days_that_the_settings_say(
    everything: Deployed,
) -> None:
    def days(bucket: str, rule: str) -> str:
        rules = everything.one(bucket).properties["LifecycleConfiguration"]["Rules"]
        (found,) = [one for one in rules if one["Id"] == rule]
        return str(found["ExpirationInDays"])

    assert days("PredictionsBucket", "uploads") == "90"
    assert days("ResultsBucket", "results") == "365"
    assert days("ResultsBucket", "shards") == "7"


def test_nothing_in_the_network_leads_out(everything: Deployed) -> None:
    kinds = {one.type for one in everything.resources}
    assert "AWS::EC2::VPC" in kinds
    assert not kinds & {
        "AWS::EC2::InternetGateway",
        "AWS::EC2::NatGateway",
        "AWS::EC2::EIP",
        "AWS::EC2::Route",
        "AWS::EC2::VPCPeeringConnection",
    }
    for subnet in everything.of("AWS::EC2::Subnet"):
        assert subnet.properties["MapPublicIpOnLaunch"] is False


def test_nobody_comes_in_but_jobs_to_the_endpoints(everything: Deployed) -> None:
    jobs, endpoints = (
        everything.one(name).properties for name in ("JobSecurityGroup", "EndpointSecurityGroup")
    )
    assert jobs["SecurityGroupIngress"] == []
    (rule,) = endpoints["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["ToPort"]) == (443, 443)
    assert "CidrIp" not in rule


def test_the_network_has_the_endpoints_that_a_job_needs(everything: Deployed) -> None:
    services = {
        one.properties["ServiceName"].removeprefix("com.amazonaws.eu-central-1.")
        for one in everything.of("AWS::EC2::VPCEndpoint")
    }
    registering = {"ecs", "ecs-agent", "ecs-telemetry"}
    starting = {"ecr.api", "ecr.dkr", "s3", "logs"}
    assert services == registering | starting | {"sagemaker.api"}


def test_a_network_of_the_accounts_own_is_taken_as_it_is(settings: Any) -> None:
    from tests.stacks.conftest import deploy

    own = deploy(settings, VpcId="vpc-0a", SubnetIds="subnet-0a, subnet-0b")
    assert not {one.type for one in own.resources} & {"AWS::EC2::VPC", "AWS::EC2::VPCEndpoint"}
    for environment in own.of("AWS::Batch::ComputeEnvironment"):
        subnets = environment.properties["ComputeResources"]["Subnets"]
        assert subnets == ["subnet-0a", "subnet-0b"], environment
    assert own.one("JobSecurityGroup").properties["VpcId"] == "vpc-0a"


def test_machines_are_encrypted_and_keep_their_credentials_from_jobs(everything: Deployed) -> None:
    import base64

    (machine,) = everything.of("AWS::EC2::LaunchTemplate")
    data = machine.properties["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    for device in data["BlockDeviceMappings"]:
        assert device["Ebs"]["Encrypted"] is True
        assert device["Ebs"]["KmsKeyId"] == _key(everything)
    # Containers of Batch share the machine's network: the firewall knows them by their user.
    script = base64.b64decode(data["UserData"]).decode()
    of_user = r"--insert OUTPUT --destination 169.254.169.254 --match owner --uid-owner (\d+)"
    refused = re.findall(rf"{of_user} --jump REJECT", script)
    for definition in everything.of("AWS::Batch::JobDefinition"):
        assert definition.properties["ContainerProperties"]["User"] in refused, definition


def test_what_a_machine_runs_at_its_start_is_sound_shell(everything: Deployed) -> None:
    """No linter looks into a template. shellcheck is in the environment that `make lint` makes."""
    import base64
    import email
    import shutil
    import subprocess

    from pipelines.images import ROOT

    (machine,) = everything.of("AWS::EC2::LaunchTemplate")
    data = base64.b64decode(machine.properties["LaunchTemplateData"]["UserData"]).decode()
    (part,) = email.message_from_string(data).get_payload()
    assert part.get_content_type() == "text/cloud-boothook"
    script = part.get_payload()
    assert script.startswith("#!/bin/sh\nset -eu\n")
    checks = [["sh", "-n"]]
    shellcheck = shutil.which("shellcheck", path=f"{ROOT}/.venv/scan/bin:{os.environ['PATH']}")
    checks += [[shellcheck, "-"]] if shellcheck else []
    for check in checks:
        done = subprocess.run(check, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def _containers(everything: Deployed) -> list[tuple[Found, dict[str, Any]]]:
    definitions = everything.of("AWS::Batch::JobDefinition")
    return [(one, one.properties["ContainerProperties"]) for one in definitions]


def test_a_job_runs_without_rights_of_the_machine(everything: Deployed) -> None:
    for definition, container in _containers(everything):
        assert container["Privileged"] is False, definition
        assert container["ReadonlyRootFilesystem"] is True, definition
        assert container["User"] == "10001", definition
        assert [one["ContainerPath"] for one in container["MountPoints"]] == ["/tmp"], definition


def test_the_user_of_a_job_is_the_one_of_the_image(everything: Deployed) -> None:
    from pipelines.images import ROOT

    dockerfile = (ROOT / "containers" / "Dockerfile").read_text("utf-8")
    for _, container in _containers(everything):
        assert f"claimflow:x:{container['User']}:" in dockerfile


def test_every_job_ends_and_leaves_a_log(everything: Deployed) -> None:
    groups = {one.properties["LogGroupName"] for one in everything.of("AWS::Logs::LogGroup")}
    for definition, container in _containers(everything):
        assert definition.properties["Timeout"]["AttemptDurationSeconds"] <= 6 * 3600
        assert container["LogConfiguration"]["Options"]["awslogs-group"] in groups


def test_machines_are_there_only_while_there_is_work(everything: Deployed) -> None:
    for environment in everything.of("AWS::Batch::ComputeEnvironment"):
        assert environment.properties["ComputeResources"]["MinvCpus"] == 0, environment


def test_a_job_that_cannot_start_does_not_hold_up_the_others(everything: Deployed) -> None:
    for queue in everything.of("AWS::Batch::JobQueue"):
        reasons = {one["Reason"] for one in queue.properties["JobStateTimeLimitActions"]}
        assert reasons == {
            "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
            "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
            "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
        }, queue


def test_options_that_cost_money_are_off_unless_asked_for(least: Deployed) -> None:
    kinds = {one.type for one in least.resources}
    names = {one.id for one in least.resources}
    assert "AWS::SageMaker::MlflowTrackingServer" not in kinds
    assert not {name for name in names if name.startswith("Gpu")}
    for endpoint in least.of("AWS::EC2::VPCEndpoint"):
        if endpoint.properties["VpcEndpointType"] == "Interface":
            assert len(endpoint.properties["SubnetIds"]) == 1, endpoint
