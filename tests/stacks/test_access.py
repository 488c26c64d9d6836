"""What each role may do, held against what AWS's service authorization reference says of each
action (as cfn-lint carries it), and against who may see or change what."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest

from pipelines.settings import Settings
from tests.stacks.conftest import EVERYTHING, Deployed, Found, deploy

_ACCOUNT = "123456789012"
_PREFIX = "claimflow-prod"


def _reference() -> dict[str, Any]:
    path = files("cfnlint.data.AdditionalSpecs") / "Policies.json"
    reference: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return reference


REFERENCE = _reference()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _statements(everything: Deployed) -> Iterator[tuple[Found, dict[str, Any]]]:
    for found, document in everything.documents():
        for statement in document["Statement"]:
            yield found, statement


def _formats(action: str) -> list[re.Pattern[str]]:
    """The ARNs that an action can be allowed on; none where AWS knows none."""
    service, name = action.split(":")
    known = REFERENCE[service]
    kinds = list(known["Actions"][name.lower()].get("Resources", []))
    if "model-package" in kinds:  # AWS's pages differ on whether the group is asked for as well
        kinds.append("model-package-group")
    formats = [
        # cfn-lint's copy does not tell a bucket from an object
        {"bucket": "arn:aws:s3:::[^/]+", "object": "arn:aws:s3:::[^/]+/.+"}.get(kind, one)
        for kind in kinds
        for one in known["Resources"][kind]["ARNFormats"]
    ]
    places = {"${Partition}": "aws", "${Region}": "eu-central-1", "${Account}": _ACCOUNT}
    patterns = []
    for one in formats:
        for name, value in places.items():
            one = one.replace(name, value)
        patterns.append(re.compile(one))
    return patterns


def _fits(action: str, resource: str) -> bool:
    # "log-group:<name>:*" is how CloudFormation gives a group; it stands for its streams too.
    spelled = {resource, re.sub(r"(:log-group:[^:]+):\*$", r"\1:log-stream:x", resource)}
    return any(form.fullmatch(one) for form in _formats(action) for one in spelled)


def test_every_statement_says_what_it_is_for_and_names_its_actions(everything: Deployed) -> None:
    for found, statement in _statements(everything):
        assert statement["Sid"], found
        assert statement["Effect"] == "Allow", (found, statement)
        assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        for action in _list(statement["Action"]):
            assert "*" not in action, (found, action)
            service, name = action.split(":")
            assert name.lower() in REFERENCE[service]["Actions"], (found, action)


def test_a_star_stands_only_where_aws_allows_nothing_else(everything: Deployed) -> None:
    starred = 0
    for found, statement in _statements(everything):
        if "*" not in _list(statement["Resource"]):
            continue
        starred += 1
        for action in _list(statement["Action"]):
            if action == "cloudwatch:PutMetricData":  # no resource holds a job's own metrics
                assert "cloudwatch:namespace" in str(statement["Condition"]), found
            else:
                assert not _formats(action), (found, action)
    assert starred


def test_a_star_has_its_reason_beside_it() -> None:
    from pipelines.deployment.stacks import ROOMS
    from pipelines.images import ROOT

    for room in ROOMS:
        lines = (ROOT / room / "stack.yaml").read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            if re.search(r'Resource: ("\*"|\'\*\'|\*)\s*$', line):
                # A key's or an endpoint's own policy: "*" is that key or endpoint.
                above = "\n".join(lines[max(0, number - 150) : number])
                own = above.rfind("KeyPolicy:"), above.rfind("PolicyDocument:")
                identity = above.rfind("PolicyName:")
                assert max(own) > identity, f"{room}/stack.yaml:{number + 1}: why?"


def test_each_action_can_be_done_on_the_resources_beside_it(everything: Deployed) -> None:
    for found, statement in _statements(everything):
        resources = [one for one in _list(statement["Resource"]) if one != "*"]
        actions = _list(statement["Action"])
        for action in actions:
            assert not resources or any(_fits(action, one) for one in resources), (found, action)
        for resource in resources:
            assert any(_fits(action, resource) for action in actions), (found, resource)


# Where AWS, or the way the project shares its images, gives no name of the deployment.
_NAMELESS = (
    (r"arn:aws:ecr:[^:]+:\d+:repository/claimflow/.+", None),
    (r"arn:aws:sagemaker:[^:]+:\d+:(processing|training)-job/pipelines-\*", "Tag/stage"),
    (r"arn:aws:sagemaker:[^:]+:\d+:(processing|training)-job/pipelines-\*", "TaggingAction"),
    (r"arn:aws:logs:[^:]+:\d+:log-group:/aws/sagemaker/(Training|Processing)Jobs:\*", None),
    (r"arn:aws:batch:[^:]+:\d+:job/\*", None),
    (r"arn:aws:kms:[^:]+:\d+:key/.+", "kms:ViaService"),
    (r"arn:aws:kms:[^:]+:\d+:key/.+", "kms:GrantIsForAWSResource"),
    (r"arn:aws:iam::\d+:role/deploys", "iam:PassedToService"),  # the administrators' own
)


def test_resources_are_those_of_this_deployment(everything: Deployed) -> None:
    for found, statement in _statements(everything):
        for resource in _list(statement["Resource"]):
            if resource == "*" or _PREFIX in resource:
                continue
            condition = json.dumps(statement.get("Condition", {}))
            assert any(
                re.fullmatch(pattern, resource) and (needed is None or needed in condition)
                for pattern, needed in _NAMELESS
            ), (found, statement["Sid"], resource)


def test_another_stage_shares_nothing_but_images(settings: Settings, everything: Deployed) -> None:
    def resources(deployed: Deployed) -> set[str]:
        return {
            resource
            for _, statement in _statements(deployed)
            for resource in _list(statement["Resource"])
            if "Condition" not in statement
        }

    other = deploy(settings.model_copy(update={"stage": "dev"}), **EVERYTHING)
    shared = resources(everything) & resources(other)
    assert {one.split(":")[2] for one in shared - {"*"}} <= {"ecr", "logs", "batch"}


def test_roles_are_passed_to_the_service_that_needs_them_only(everything: Deployed) -> None:
    passed = {}
    for found, statement in _statements(everything):
        if "iam:PassRole" in _list(statement["Action"]):
            assert _list(statement["Action"]) == ["iam:PassRole"], found
            service = statement["Condition"]["StringEquals"]["iam:PassedToService"]
            names = {one.rpartition("/")[2] for one in _list(statement["Resource"])}
            passed[found.id] = (service, names)
    assert passed == {
        "PipelineRole": (
            "sagemaker.amazonaws.com",
            {f"{_PREFIX}-training", f"{_PREFIX}-processing"},
        ),
        "CiRole": ("sagemaker.amazonaws.com", {f"{_PREFIX}-pipeline"}),
        "DeployPolicy": ("cloudformation.amazonaws.com", {"deploys"}),
    }


def test_the_key_is_used_through_services_only(everything: Deployed) -> None:
    for found, statement in _statements(everything):
        actions = set(_list(statement["Action"]))
        if not any(action.startswith("kms:") for action in actions):
            continue
        if "kms:CreateGrant" in actions:
            assert actions == {"kms:CreateGrant"}, found
            assert statement["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}, found
        else:
            services = _list(statement["Condition"]["StringEquals"]["kms:ViaService"])
            assert all(one.endswith(".eu-central-1.amazonaws.com") for one in services), found


def test_jobs_may_do_what_sagemaker_asks_for_output_and_volume_keys(everything: Deployed) -> None:
    """SageMaker's developer guide, "execution roles": Decrypt for the input, Encrypt for a key of
    the output, CreateGrant for a key of the volume."""
    for role in ("TrainingRole", "ProcessingRole"):
        allowed = {
            action
            for found, statement in _statements(everything)
            if found.id == role
            for action in _list(statement["Action"])
        }
        assert {"kms:Decrypt", "kms:Encrypt", "kms:CreateGrant"} <= allowed, role
    granting = {
        found.id
        for found, statement in _statements(everything)
        if "kms:CreateGrant" in _list(statement["Action"])
    }
    assert granting == {"TrainingRole", "ProcessingRole"}


def test_each_role_is_taken_by_one_service_of_this_account_only(everything: Deployed) -> None:
    for role in everything.of("AWS::IAM::Role"):
        (statement,) = role.properties["AssumeRolePolicyDocument"]["Statement"]
        principal = statement["Principal"]
        if role.id == "CiRole":
            continue
        assert list(principal) == ["Service"], role
        assert isinstance(principal["Service"], str), role
        if principal["Service"] != "ec2.amazonaws.com":  # which tells no account
            account = statement["Condition"]["StringEquals"]["aws:SourceAccount"]
            assert account == _ACCOUNT, role


@pytest.mark.parametrize(
    ("option", "subject"),
    [
        ({}, "repo:example/claims:ref:refs/heads/main"),
        ({"GithubEnvironment": "prod"}, "repo:example/claims:environment:prod"),
    ],
    ids=["branch", "environment"],
)
def test_ci_is_one_branch_or_environment_of_one_repository(
    settings: Settings, option: dict[str, str], subject: str
) -> None:
    role = deploy(settings, **{**EVERYTHING, **option}).one("CiRole")
    (statement,) = role.properties["AssumeRolePolicyDocument"]["Statement"]
    host = "token.actions.githubusercontent.com"
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Principal"]["Federated"].endswith(f":oidc-provider/{host}")
    assert statement["Condition"] == {
        "StringEquals": {f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": subject}
    }


def test_ci_sees_reports_and_no_models_and_not_for_long(everything: Deployed) -> None:
    role = everything.one("CiRole")
    assert role.properties["MaxSessionDuration"] <= 2 * 3600  # seconds
    models = f"arn:aws:s3:::{_PREFIX}-models-{_ACCOUNT}-eu-central-1"
    read = {
        resource
        for found, statement in _statements(everything)
        if found.id == "CiRole" and "s3:GetObject" in _list(statement["Action"])
        for resource in _list(statement["Resource"])
    }
    data = models.replace("-models-", "-data-")
    assert read == {
        f"{models}/runs/*/validation/*",
        f"{models}/runs/*/evaluation/*",
        f"{data}/versions/*/manifest.json",
    }


def test_without_a_repository_nobody_outside_takes_a_role(least: Deployed) -> None:
    kinds = {one.type for one in least.resources if one.room == "ci"}
    assert not {one for one in kinds if "::IAM::" in one}


def _who(everything: Deployed, action: str, part: str) -> set[str]:
    return {
        found.id
        for found, statement in _statements(everything)
        if action in _list(statement["Action"])
        and any(part in resource for resource in _list(statement["Resource"]))
    }


def _whole(everything: Deployed, resource: str) -> set[str]:
    """Who reads just this, wildcard included."""
    return {
        found.id
        for found, statement in _statements(everything)
        if "s3:GetObject" in _list(statement["Action"])
        and f"arn:aws:s3:::{resource}" in _list(statement["Resource"])
    }


def test_only_the_job_reads_claims_and_only_it_writes_predictions(everything: Deployed) -> None:
    bucket = f"{_PREFIX}-predictions-"
    assert _who(everything, "s3:GetObject", bucket) == {"PredictRole"}
    assert _who(everything, "s3:GetObjectVersion", bucket) == {"PredictRole"}
    results = f"{_PREFIX}-results-{_ACCOUNT}-eu-central-1/results/*"
    assert _who(everything, "s3:PutObject", results) == {"PredictRole"}
    assert _whole(everything, results) == {"PredictRole"}
    assert _who(everything, "s3:GetObject", f"{results}/manifest.json") == {
        "SubmitRole",
        "NotifyRole",
    }


def test_only_what_counts_validates_and_trains_reads_labelled_data(everything: Deployed) -> None:
    data = f"{_PREFIX}-data-{_ACCOUNT}-eu-central-1"
    assert _who(everything, "s3:GetObject", f"{data}/code/") == {"DeployPolicy"}
    assert _who(everything, "s3:GetObject", f"{data}/*") == {"ProcessingRole"}
    assert not _who(everything, "s3:GetObject", f"{data}/labelled/")
    assert _who(everything, "s3:GetObjectVersion", data) == {"RetrainRole"}  # to count them
    assert _who(everything, "s3:GetObject", f"{data}/versions/") == {"RetrainRole", "CiRole"}
    for channel in ("vectors", "pretrained"):  # which hold no labelled data
        assert _who(everything, "s3:GetObject", f"{data}/{channel}/*") == {"TrainingRole"}
    models = f"{_PREFIX}-models-{_ACCOUNT}-eu-central-1"  # where Validate leaves what Train reads
    assert _who(everything, "s3:GetObject", f"{models}/runs/*/training/") == {"TrainingRole"}
    assert not _whole(everything, f"{models}/*") | _whole(everything, f"{models}/runs/*")


def test_labelled_data_is_changed_by_no_role_and_its_versions_are_made_by_one(
    everything: Deployed,
) -> None:
    data = f"{_PREFIX}-data-{_ACCOUNT}-eu-central-1"
    assert _who(everything, "s3:PutObject", data) == {"DeployPolicy", "RetrainRole"}
    assert _who(everything, "s3:PutObject", f"{data}/versions/") == {"RetrainRole"}
    for part in (f"{data}/*", f"{data}/labelled"):
        assert not _who(everything, "s3:PutObject", part)


def test_no_role_rolls_a_model_back_and_none_but_approve_approves(
    everything: Deployed, least: Deployed
) -> None:
    assert not _who(everything, "s3:PutObject", "/serving/")
    assert _who(everything, "sagemaker:CreateModelPackage", "") == {"PipelineRole"}
    assert _who(everything, "sagemaker:UpdateModelPackage", "") == {"ApproveRole"}
    assert not _who(least, "sagemaker:UpdateModelPackage", ""), "only if the settings ask for it"
    assert _who(everything, "s3:PutObject", "/decisions/") == {"ApproveRole"}


def test_manifests_and_decisions_are_written_once(everything: Deployed) -> None:
    once = {
        resource.partition("eu-central-1/")[2]
        for _, statement in _statements(everything)
        if statement.get("Condition") == {"Null": {"s3:if-none-match": "false"}}
        for resource in _list(statement["Resource"])
    }
    assert once == {"versions/*.json", f"decisions/{_PREFIX}/*"}


def test_only_the_function_starts_the_pipeline(everything: Deployed) -> None:
    assert _who(everything, "sagemaker:StartPipelineExecution", "") == {"RetrainRole"}
    assert _who(everything, "lambda:InvokeFunction", f"{_PREFIX}-retrain") == {"CiRole"}


def test_nothing_is_deleted_but_markers_shards_and_tracked_files(everything: Deployed) -> None:
    for found, statement in _statements(everything):
        for action in _list(statement["Action"]):
            if re.search("Delete|Terminate|Deregister", action.partition(":")[2]):
                where = {one.partition("eu-central-1")[2] for one in _list(statement["Resource"])}
                assert (found.id, action) in {
                    ("TrackingRole", "s3:DeleteObject"),
                    ("TrainingRole", "sagemaker-mlflow:DeleteRun"),
                    ("ProcessingRole", "sagemaker-mlflow:DeleteRun"),
                    ("SubmitRole", "s3:DeleteObject"),
                    ("SubmitRole", "sqs:DeleteMessage"),
                    ("NotifyRole", "sqs:DeleteMessage"),
                    ("RetrainRole", "sqs:DeleteMessage"),
                    ("ApproveRole", "sqs:DeleteMessage"),
                    ("PredictRole", "s3:DeleteObject"),
                    ("InstanceRole", "ecs:DeregisterContainerInstance"),
                    ("DeployPolicy", "cloudformation:DeleteChangeSet"),
                }, (found, action)
                if action == "s3:DeleteObject":
                    assert where <= {"/waiting/*", "/shards/*", "/mlflow/*"}, (found, where)
