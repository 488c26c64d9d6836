"""What failed steps say, and the cause that is found behind it."""

from __future__ import annotations

import re

import pytest

from pipelines.symptoms import SYMPTOMS, UNKNOWN, likely_cause
from steps.errors import InputError
from steps.hyperparameters import parse

ALGORITHM = "AlgorithmError: {}, exit code: 1"
DENIED = (
    "ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: User: "
    "arn:aws:sts::1:assumed-role/pipeline/x is not authorized to perform: "
    "sagemaker:CreateTrainingJob on resource: arn:aws:sagemaker:eu-west-1:1:training-job/x because "
    "no identity-based policy allows it"
)
GPT = "hyperparameter kind is 'gpt', expected one of: ngram, fasttext"
SAID = [
    ("Train", ALGORITHM.format(GPT), "wrong hyperparameter"),
    (
        "Train",
        ALGORITHM.format("hyperparameter epochs is -1, expected between 0 and 1000"),
        "wrong hyperparameter",
    ),
    (
        "Train",
        ALGORITHM.format("hyperparameter 'filters' does not exist for kind 'ngram'"),
        "wrong hyperparameter",
    ),
    (
        "Train",
        ALGORITHM.format("hyperparameter class_weights has a weight for 'Out of memory', which"),
        "wrong hyperparameter",
    ),
    ("Validate", ALGORITHM.format("The data did not pass validation: 3 nulls."), "bad data"),
    ("Validate", ALGORITHM.format("claims.csv, line 7: expected 2 cells, found 3"), "bad data"),
    ("Validate", f"AlgorithmError: The data did not pass validation: {'x' * 1000}", "bad data"),
    (
        "Evaluate",
        ALGORITHM.format("the test data has labels that training never saw: 'hail' (3 rows); …"),
        "label unseen",
    ),
    ("Train", "AlgorithmError: see the job log, exit code: 137", "out of memory"),
    ("Validate", "AlgorithmError: see the job log, exit code: 137", "out of memory"),
    ("Validate", ALGORITHM.format("MemoryError: Unable to allocate 9 GiB"), "out of memory"),
    ("Train", ALGORITHM.format("MXNetError: cudaMalloc failed: out of memory"), "out of memory"),
    (
        "Train",
        "CapacityError: Unable to provision requested ML compute capacity. Please retry using a "
        "different ML instance type.",
        "no capacity",
    ),
    ("Train", "the job was stopped (Stopped)\nMaxWaitTimeExceeded", "no capacity"),
    (
        "Train",
        "ClientError: Failed to invoke sagemaker:CreateTrainingJob. Error Details: The "
        "account-level service limit 'ml.p3.2xlarge for training job usage' is 0 Instances",
        "quota",
    ),
    ("Train", DENIED, "access denied"),
    ("Validate", "ClientError: s3://claims/x.csv: Access Denied", "access denied"),
    (
        "Train",
        "ClientError: Could not assume role arn:aws:iam::1:role/train. Please ensure that the role "
        "exists",
        "access denied",
    ),
    (
        "Train",
        "ClientError: Cannot pull algorithm container. Either the image does not exist or its "
        "permissions are incorrect.",
        "image missing",
    ),
    (
        "Validate",
        "ClientError: API error (404): manifest for 1.dkr.ecr.eu-west-1.amazonaws.com/v:1 not "
        "found: manifest unknown: Requested image not found",
        "image missing",
    ),
    (
        "Validate",
        "ClientError: There is no image validate:abc: the code is now def; run `claimflow "
        "pipeline upsert` to use it",
        "image missing",
    ),
    ("Train", "ClientError: The job ran longer than its MaxRuntimeInSeconds", "time-out"),
    ("Train", "the job was stopped (Stopped)\nMaxRuntimeExceeded", "time-out"),
    (
        "Champion",
        "ClientError: The function arn:aws:lambda:eu-west-1:1:function:champion failed: 2f Task "
        "timed out after 60 seconds",
        "time-out",
    ),
    ("Train", "ThrottlingException: Rate exceeded", "throttling"),
    ("Validate", "ClientError: No S3 objects found under S3 URL s3://claims/x given", "no data"),
    (
        "Train",
        "InternalServerError: The local cloud ended while this ran; `claimflow pipeline retry` "
        "goes on from here",
        "cloud ended",
    ),
    ("Train", "InternalServerError: We encountered an internal error.", "service fault"),
]


@pytest.mark.parametrize(("step", "reason", "symptom"), SAID)
def test_what_a_step_says_tells_its_cause(step: str, reason: str, symptom: str) -> None:
    found = likely_cause(step, reason)
    assert found.symptom == symptom
    assert found.cause and found.advice


def test_every_symptom_is_tried_here() -> None:
    assert {symptom for _, _, symptom in SAID} == {
        symptom.name for symptom in SYMPTOMS if symptom.name != "fault of the code"
    }


def test_the_action_that_was_denied_is_named() -> None:
    assert "sagemaker:CreateTrainingJob" in likely_cause("Train", DENIED).cause


def test_bad_data_is_what_validate_alone_tells() -> None:
    reason = ALGORITHM.format("claims.csv has no rows")
    assert likely_cause("Validate", reason).symptom == "bad data"
    assert likely_cause("Train", reason) == UNKNOWN


@pytest.mark.parametrize("symptom", ["bad data", "wrong hyperparameter"])
def test_what_a_retry_would_only_repeat_is_not_retried(symptom: str) -> None:
    (advice,) = [one.advice for one in SYMPTOMS if one.name == symptom]
    assert "claimflow pipeline retry" not in advice
    assert "a retry " in advice
    assert "`claimflow retrain" in advice


def test_a_refusal_of_the_steps_own_is_known_as_theirs() -> None:
    for texts in ({"kind": "gpt"}, {"epochs": "-1"}, {"epochs": "many"}, {"epoch": "1"}):
        with pytest.raises(InputError) as refused:
            parse(texts)
        reason = ALGORITHM.format(refused.value)
        assert likely_cause("Train", reason).symptom == "wrong hyperparameter"


def test_the_log_counts_where_the_reason_says_nothing() -> None:
    log = ["epoch=1 loss=0.3", "terminate called after throwing 'std::bad_alloc'"]
    reason = "AlgorithmError: see the job log, exit code: 134"
    assert likely_cause("Train", reason, log).symptom == "out of memory"
    assert likely_cause("Train", DENIED, log).symptom == "access denied"
    traceback = ["Traceback (most recent call last):", '  File "train.py"', "KeyError: 'x'"]
    assert likely_cause("Train", reason, traceback).symptom == "fault of the code"
    assert likely_cause("Train", reason, ["loss=0.3"]) == UNKNOWN


def test_what_a_label_says_is_no_symptom() -> None:
    quoted = "the test data has labels that training never saw: 'exit code: 137' (3 rows)"
    assert likely_cause("Evaluate", ALGORITHM.format(quoted)).symptom == "label unseen"


def test_the_advice_names_commands_that_there_are() -> None:
    from pipelines.cli import claimflow

    for symptom in SYMPTOMS:
        for words in re.findall(r"`claimflow ([a-z ]+)`", symptom.advice):
            command = claimflow
            for word in words.split():
                found = command.get_command(None, word)  # type: ignore[arg-type]
                assert found is not None, f"{symptom.name}: claimflow {words}"
                command = found  # type: ignore[assignment]
