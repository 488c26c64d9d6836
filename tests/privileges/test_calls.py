"""What a role must not be able to do, and a few calls that it must."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from pipelines.settings import Role
from tests.local.local_cloud import Cloud
from tests.privileges.calls import (
    ADMIN,
    CEILING,
    CLAIMS,
    DATA,
    DECISION,
    EVALUATION,
    EXECUTION,
    GROUP,
    ID,
    LABELLED,
    MANIFEST,
    MARKER,
    MESSAGES,
    MODEL,
    MODELS,
    NOTICE,
    OTHER_GROUP,
    OTHER_TAGS,
    OWN_TAGS,
    PREDICTIONS,
    RECORD,
    REST,
    RESULT,
    RESULTS,
    ROLES,
    SECRETS,
    SETTINGS,
    TRAINING,
    TRAINING_DATA,
    UPLOAD,
    UPLOADS,
    VECTORS,
    VERSION,
    Asked,
    arn,
    copy,
    create,
    delete,
    delete_version,
    follow,
    get,
    invoke,
    listing,
    listing_versions,
    package,
    packages,
    publish,
    put,
    queue_url,
    register,
    role_name,
    sagemaker_arn,
    send,
    start,
    submit,
    train,
    update,
)
from tests.privileges.conftest import ask

REFUSED = ("AccessDenied", "AccessDeniedException", "AuthorizationError")

# What nobody may: it would give itself more rights, change what others rely on, or make what was
# done unseen.
NOBODY = [
    Asked(
        "iam:PutRolePolicy",
        "put_role_policy",
        {"RoleName": "{role}", "PolicyName": "p", "PolicyDocument": "{}"},
    ),
    Asked(
        "iam:AttachRolePolicy",
        "attach_role_policy",
        {"RoleName": "{role}", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
    ),
    Asked("iam:CreateRole", "create_role", {"RoleName": "r", "AssumeRolePolicyDocument": "{}"}),
    Asked("sts:AssumeRole", "assume_role", {"RoleArn": ADMIN, "RoleSessionName": "session"}),
    update(OTHER_GROUP),
    Asked(
        "sagemaker:DeleteModelPackage",
        "delete_model_package",
        {"ModelPackageName": sagemaker_arn(f"model-package/{GROUP}/1")},
    ),
    Asked(
        "iam:UpdateAssumeRolePolicy",
        "update_assume_role_policy",
        {"RoleName": "{role}", "PolicyDocument": "{}"},
    ),
    Asked("iam:CreateUser", "create_user", {"UserName": "u"}),
    Asked("iam:CreateAccessKey", "create_access_key", {"UserName": "u"}),
    Asked("iam:GetRolePolicy", "get_role_policy", {"RoleName": "{role}", "PolicyName": "p"}),
    Asked(
        "sagemaker:CreateModelPackageGroup",
        "create_model_package_group",
        {"ModelPackageGroupName": "g"},
    ),
    Asked(
        "sagemaker:DeleteModelPackageGroup",
        "delete_model_package_group",
        {"ModelPackageGroupName": GROUP},
    ),
    Asked(
        "sagemaker:DeletePipeline",
        "delete_pipeline",
        {"PipelineName": SETTINGS.pipeline_name, "ClientRequestToken": "t" * 32},
    ),
    Asked(
        "sagemaker:AddTags",
        "add_tags",
        {"ResourceArn": sagemaker_arn(f"model-package/{GROUP}/1"), "Tags": OWN_TAGS},
    ),
    Asked(
        "lambda:UpdateFunctionCode",
        "update_function_code",
        {"FunctionName": SETTINGS.function_name("submit"), "ZipFile": b"x"},
    ),
    Asked("lambda:GetFunction", "get_function", {"FunctionName": SETTINGS.function_name("submit")}),
    Asked(
        "batch:RegisterJobDefinition",
        "register_job_definition",
        {
            "jobDefinitionName": SETTINGS.job_definition,
            "type": "container",
            "containerProperties": {"image": "i"},
        },
    ),
    Asked("batch:TerminateJob", "terminate_job", {"jobId": "i", "reason": "r"}),
    Asked("sqs:PurgeQueue", "purge_queue", {"QueueUrl": queue_url(SETTINGS.upload_queue)}),
    Asked(
        "sqs:SetQueueAttributes",
        "set_queue_attributes",
        {"QueueUrl": queue_url(SETTINGS.upload_queue), "Attributes": {"VisibilityTimeout": "0"}},
    ),
    Asked(
        "sqs:ReceiveMessage",
        "receive_message",
        {"QueueUrl": queue_url(SETTINGS.dead_letter_queue)},
    ),
    Asked(
        "sns:Subscribe",
        "subscribe",
        {"TopicArn": SETTINGS.notice_topic_arn, "Protocol": "email", "Endpoint": "a@example.com"},
    ),
    Asked("events:DisableRule", "disable_rule", {"Name": "t-test-upload"}),
    Asked(
        "events:PutTargets",
        "put_targets",
        {"Rule": "t-test-upload", "Targets": [{"Id": "i", "Arn": arn("sqs", "other")}]},
    ),
    Asked("events:PutEvents", "put_events", {"Entries": [{"Source": "aws.s3", "Detail": "{}"}]}),
    Asked(
        "logs:GetLogEvents",
        "get_log_events",
        {"logGroupName": "/aws/lambda/t-test-submit", "logStreamName": "s"},
    ),
    Asked("kms:Decrypt", "decrypt", {"CiphertextBlob": b"x", "KeyId": "k"}),
    Asked("s3:ListAllMyBuckets", "list_buckets", {}),
    Asked(
        "s3:PutBucketVersioning",
        "put_bucket_versioning",
        {"Bucket": RESULTS, "VersioningConfiguration": {"Status": "Suspended"}},
    ),
    Asked("s3:PutBucketPublicAccessBlock", "delete_public_access_block", {"Bucket": RESULTS}),
    Asked("s3:PutLifecycleConfiguration", "delete_bucket_lifecycle", {"Bucket": RESULTS}),
    Asked(
        "s3:PutBucketNotification",
        "put_bucket_notification_configuration",
        {"Bucket": UPLOADS, "NotificationConfiguration": {}},
    ),
    Asked(
        "s3:PutObjectAcl",
        "put_object_acl",
        {"Key": RESULT, "Bucket": RESULTS, "ACL": "public-read"},
    ),
    put(MODELS, CEILING),
    delete(DATA, "train.csv"),
    delete(MODELS, "runs/m/model/model.tar.gz"),
    delete(MODELS, DECISION),
    delete(DATA, f"{VERSION}/manifest.json"),
    put(DATA, "labelled/train/claims.csv"),
    delete(UPLOADS, UPLOAD),
    delete(RESULTS, RESULT),
    delete_version(RESULTS, RESULT),
    put(UPLOADS, UPLOAD),
    put(DATA, "train.csv"),
    get("somebody-elses-bucket", "x"),
    get(f"{DATA}-2", "train.csv"),
    packages(OTHER_GROUP),
    package(OTHER_GROUP),
    register(OTHER_GROUP),
    submit("other-queue"),
    submit(f"{SETTINGS.job_queue}-2"),
    submit(SETTINGS.job_queue, "other-definition"),
    send("t-test-uploads-2"),
    publish(f"{SETTINGS.notice_topic_arn}-2"),
    invoke("t-test-other"),
    start("other-pipeline"),
    train(TRAINING, TrainingJobName="mine", Tags=OWN_TAGS),
    train(ADMIN, Tags=OTHER_TAGS),
]

MUST_NOT: dict[Role, list[Asked]] = {
    "pipeline": [
        *(CLAIMS, LABELLED, TRAINING_DATA, PREDICTIONS, *REST, *MESSAGES, NOTICE),
        invoke(SETTINGS.function_name("submit")),
        invoke(SETTINGS.function_name("retrain")),
        train(ADMIN, "iam:PassRole", Tags=OWN_TAGS),
        train(SETTINGS.role_arn("pipeline"), "iam:PassRole", Tags=OWN_TAGS),
        train(SETTINGS.role_arn("predict"), "iam:PassRole", Tags=OWN_TAGS),
        train(TRAINING, Tags=OTHER_TAGS),
        train(TRAINING),
        start(SETTINGS.pipeline_name),
        *(listing(MODELS), listing(DATA), listing(UPLOADS), listing(RESULTS), put(DATA, "x")),
        *(get(MODELS, CEILING), get(MODELS, "checkpoints/x"), packages(GROUP)),
        follow("training-job/other"),
    ],
    "training": [
        *(CLAIMS, LABELLED, PREDICTIONS, MODEL, submit(SETTINGS.job_queue), *MESSAGES, NOTICE),
        *(packages(GROUP), package(GROUP), register(GROUP), listing(UPLOADS), listing(RESULTS)),
        *(invoke(SETTINGS.function_name("champion")), start(SETTINGS.pipeline_name)),
        *(get(MODELS, CEILING), put(MODELS, "no-champion/no-champion.json"), put(RESULTS, RESULT)),
        *(listing(MODELS), listing(MODELS, "serving/"), listing(DATA), put(MODELS, EVALUATION)),
        *(copy(UPLOAD, MODELS, "runs/x/model/x", UPLOADS), follow("training-job/pipelines-x")),
    ],
    "processing": [
        *(CLAIMS, TRAINING_DATA, PREDICTIONS, *REST, *MESSAGES, NOTICE),
        *(get(MODELS, "checkpoints/x"), get(MODELS, EVALUATION)),
        *(packages(GROUP), package(GROUP), register(GROUP), listing(UPLOADS), listing(RESULTS)),
        *(invoke(SETTINGS.function_name("champion")), start(SETTINGS.pipeline_name)),
        *(get(MODELS, CEILING), listing(MODELS), listing(MODELS, "serving/")),
        copy(UPLOAD, MODELS, "runs/r/evaluation/x", UPLOADS),
        follow("processing-job/pipelines-x"),
    ],
    "champion": [
        *(*SECRETS, *REST, *MESSAGES, NOTICE, register(GROUP)),
        *(listing(UPLOADS), listing(DATA), listing(RESULTS), put(MODELS, "runs/x")),
        *(put(MODELS, "no-champion/other.json"), start(SETTINGS.pipeline_name)),
    ],
    "submit": [
        *(*SECRETS, *REST[:2], *MESSAGES, NOTICE, register(GROUP)),
        *(listing(UPLOADS), listing(DATA), delete(RESULTS, RECORD), start(SETTINGS.pipeline_name)),
        *(put(RESULTS, f"results/x/{ID}/manifest.json"), put(RESULTS, f"notices/{ID}/1-done.json")),
        *(send(SETTINGS.notice_queue), copy(RESULT, RESULTS, RECORD, RESULTS)),
    ],
    "notify": [
        *(*SECRETS, *REST, *MESSAGES),
        *(packages(GROUP), register(GROUP), put(RESULTS, RECORD), put(RESULTS, MARKER)),
        *(listing(UPLOADS), listing(DATA), delete(RESULTS, RECORD), package(GROUP)),
        *(get(MODELS, CEILING), get(RESULTS, MARKER), start(SETTINGS.pipeline_name)),
        copy(RESULT, RESULTS, f"notices/{ID}/1-done.json", RESULTS),
    ],
    "sweep": [
        *(*SECRETS, *REST, *MESSAGES[1:], NOTICE),
        *(register(GROUP), put(RESULTS, RECORD), put(RESULTS, MARKER), delete(RESULTS, RECORD)),
        *(send(SETTINGS.notice_queue), listing(DATA), start(SETTINGS.pipeline_name)),
        put(RESULTS, f"results/x/{ID}/manifest.json"),
    ],
    "retrain": [
        *(CLAIMS, TRAINING_DATA, PREDICTIONS, MODEL, *REST, *MESSAGES, register(GROUP)),
        *(packages(GROUP), package(GROUP), get(MODELS, CEILING), get(MODELS, EVALUATION)),
        *(get(DATA, "labelled/train/claims.csv"), get(DATA, "code/x"), put(DATA, "code/x")),
        *(put(DATA, f"{VERSION}/manifest.json"), create(DATA, "labelled/train/claims.json")),
        *(listing_versions(DATA, "code/"), listing(MODELS), listing(UPLOADS), listing(RESULTS)),
        *(
            delete(DATA, "labelled/train/claims.csv"),
            copy(UPLOAD, DATA, f"{VERSION}/test/x", UPLOADS),
        ),
        *(invoke(SETTINGS.function_name("approve")), invoke(SETTINGS.function_name("champion"))),
        Asked(
            "sagemaker:UpdatePipeline",
            "update_pipeline",
            {"PipelineName": SETTINGS.pipeline_name, "PipelineDefinition": "{}"},
        ),
        *(
            Asked(
                f"sagemaker:{word}PipelineExecution",
                f"{word.lower()}_pipeline_execution",
                {"PipelineExecutionArn": EXECUTION, "ClientRequestToken": "t" * 32},
            )
            for word in ("Stop", "Retry")
        ),
    ],
    "approve": [
        *(*SECRETS, *REST, *MESSAGES, NOTICE, register(GROUP), packages(GROUP)),
        *(get(MODELS, CEILING), get(MODELS, DECISION), put(MODELS, EVALUATION), listing(DATA)),
        put(MODELS, DECISION),
        *(put(MODELS, f"decisions/{OTHER_GROUP}/x.json"), listing(UPLOADS), listing(RESULTS)),
        *(invoke(SETTINGS.function_name("retrain")), start(SETTINGS.pipeline_name)),
    ],
    "predict": [
        *(LABELLED, TRAINING_DATA, *MESSAGES, NOTICE, REST[0], submit(SETTINGS.job_queue)),
        *(packages(GROUP), register(GROUP), put(RESULTS, RECORD), put(RESULTS, MARKER)),
        *(listing(DATA), get(UPLOADS, "elsewhere/x.csv"), delete(RESULTS, RECORD)),
        *(get(MODELS, CEILING), get(RESULTS, RECORD), get(RESULTS, MARKER)),
        *(invoke(SETTINGS.function_name("champion")), start(SETTINGS.pipeline_name)),
        copy(f"{VERSION}/train/0001-claims.csv", RESULTS, RESULT, DATA),
    ],
    # What starts the container sees none of what the container sees.
    "execution": [
        *(*SECRETS, *REST, *MESSAGES, NOTICE),
        *(packages(GROUP), package(GROUP), register(GROUP), listing(RESULTS), listing(UPLOADS)),
        *(listing(DATA), listing(MODELS), get(RESULTS, RECORD), start(SETTINGS.pipeline_name)),
    ],
    "ci": [
        *(*SECRETS, *REST, *MESSAGES, NOTICE, register(GROUP)),
        *(listing(UPLOADS), listing(RESULTS), invoke(SETTINGS.function_name("submit"))),
        # Only the function starts a run: it takes no parameter that would approve the model.
        *(listing(DATA), start(SETTINGS.pipeline_name)),
        *(get(MODELS, CEILING), put(DATA, "code/x"), get(RESULTS, RECORD)),
        *(put(DATA, f"{VERSION}/x"), put(MODELS, DECISION), get(DATA, "labelled/train/claims.csv")),
        *(follow("training-job/pipelines-x"), follow("processing-job/other")),
        invoke(SETTINGS.function_name("approve")),
        Asked(
            "iam:PassRole",
            "create_pipeline",
            {
                "PipelineName": SETTINGS.pipeline_name,
                "PipelineDefinition": "{}",
                "RoleArn": SETTINGS.role_arn("training"),
            },
        ),
        Asked(
            "iam:PassRole",
            "create_pipeline",
            {"PipelineName": SETTINGS.pipeline_name, "PipelineDefinition": "{}", "RoleArn": ADMIN},
        ),
    ],
}
# Only if the settings ask for it does one of them approve; this deployment's do.
for purpose in ROLES:
    if purpose != "approve":
        MUST_NOT[purpose].append(update(GROUP))

MUST: dict[Role, list[Asked]] = {
    "pipeline": [train(TRAINING, Tags=OWN_TAGS), register(GROUP), get(MODELS, EVALUATION), MODEL],
    "training": [
        *(TRAINING_DATA, get(DATA, VECTORS), listing(DATA, "vectors/")),
        put(MODELS, "runs/n/model/model.tar.gz"),
    ],
    "processing": [
        *(LABELLED, MODEL, listing(MODELS, "runs/m/"), put(MODELS, "runs/n/training/train.csv")),
    ],
    "champion": [packages(GROUP), package(GROUP), get(MODELS, CEILING)],
    "submit": [
        *(packages(GROUP), package(GROUP), get(MODELS, CEILING), MANIFEST),
        *(get(RESULTS, RECORD), put(RESULTS, RECORD), put(RESULTS, MARKER)),
        *(delete(RESULTS, MARKER), send(SETTINGS.dead_letter_queue)),
        Asked("batch:ListJobs", "list_jobs", {"jobQueue": SETTINGS.job_queue}),
    ],
    "notify": [
        *(MANIFEST, get(RESULTS, RECORD), put(RESULTS, f"notices/{ID}/1-done.json")),
        *(NOTICE, send(SETTINGS.dead_letter_queue)),
    ],
    "sweep": [
        *(send(SETTINGS.upload_queue), packages(GROUP), get(RESULTS, RECORD)),
        *(put(RESULTS, f"announced/{ID}"), listing(RESULTS)),
    ],
    "retrain": [
        *(listing_versions(DATA, "labelled/"), get(DATA, f"{VERSION}/manifest.json")),
        *(create(DATA, f"{VERSION}/new.json"), put(DATA, f"{VERSION}/train/0001-new.csv")),
        *(NOTICE, send(SETTINGS.dead_letter_queue)),
    ],
    "approve": [
        *(package(GROUP), get(MODELS, EVALUATION), create(MODELS, DECISION), update(GROUP)),
        send(SETTINGS.dead_letter_queue),
    ],
    "predict": [
        *(CLAIMS, MODEL, get(MODELS, EVALUATION), package(GROUP)),
        *(put(RESULTS, RESULT), PREDICTIONS),
    ],
    "execution": [Asked("ecr:GetAuthorizationToken", "get_authorization_token", {})],
    "ci": [
        *(Asked("ecr:GetAuthorizationToken", "get_authorization_token", {}), packages(GROUP)),
        *(get(DATA, f"{VERSION}/manifest.json"), get(MODELS, EVALUATION)),
    ],
}


def cases(table: dict[Role, list[Asked]], also: tuple[Asked, ...] = ()) -> list[Any]:
    return [
        pytest.param(purpose, asked, id=f"{purpose}-{asked}")
        for purpose in ROLES
        for asked in (*table[purpose], *also)
    ]


@pytest.mark.parametrize(("purpose", "asked"), cases(MUST_NOT, tuple(NOBODY)))
def test_a_role_must_not(cloud: Cloud, purpose: Role, asked: Asked) -> None:
    with pytest.raises(ClientError) as refused:
        ask(cloud, purpose, asked)
    error = refused.value.response["Error"]
    assert error["Code"] in REFUSED
    assert (
        f"{role_name(purpose)}/local is not authorized to perform: {asked.action} on"
        in (error["Message"])
    )


@pytest.mark.parametrize(("purpose", "asked"), cases(MUST))
def test_a_role_must(cloud: Cloud, purpose: Role, asked: Asked) -> None:
    ask(cloud, purpose, asked)
