"""What a failed step says, and what is most likely behind it: a table of symptoms.

The wordings are the steps' own, those of SageMaker (API reference, `FailureReason` and
`SecondaryStatus`; developer guide, managed spot training) and those of AWS's refusals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Symptom:
    """One row of the table. `cause` may hold `{found}`: what the pattern's group has caught."""

    name: str
    pattern: str
    cause: str
    advice: str
    step: str = ""  # of which alone it is a symptom


@dataclass(frozen=True)
class Cause:
    """The likely cause of a failure, and what to do."""

    symptom: str
    cause: str
    advice: str


_RETRY = "`claimflow pipeline retry` goes on from here"
# The first that fits is the cause, so what is said in our own words stands before what may be
# quoted in it: the name of a label may be any text.
SYMPTOMS = (
    Symptom(
        "wrong hyperparameter",
        r"^AlgorithmError: hyperparameter ",
        "the training was given a hyperparameter or kind of model that it does not take",
        "start again with another value, as the reason expects it (`claimflow retrain -p "
        "NAME=VALUE`): a retry keeps the parameters",
        step="Train",
    ),
    Symptom(
        "bad data",
        r"The data did not pass validation|^AlgorithmError: (?!see the job log|the container was "
        r"killed|\w+(Error|Exception)\b|.*exit code: (?!1$)\d+$)",
        "the labelled data is not fit to learn from, and training was not begun",
        "`validation/validation.json` of the execution tells each check: take the files at fault "
        "out with `claimflow data remove`, add them mended with `claimflow data add`, and "
        "start again with `claimflow retrain`; a retry would read the same data",
        step="Validate",
    ),
    Symptom(
        "label unseen",
        r"labels that training never saw",
        "the test set has labels that no training claim has",
        "add training claims with these labels, or correct the labels of the test set, and start "
        "again",
    ),
    Symptom(
        "out of memory",
        r"exit code: 137\b|\bMemoryError\b|\bOutOfMemory|[Oo]ut of memory|Cannot allocate memory|"
        r"\bbad_alloc\b|cudaMalloc failed",
        "the job needed more memory than its instance has",
        "set a larger instance (`training_instance_type` or `processing_instance_type`) or a "
        "smaller BatchSize, `claimflow pipeline upsert`, and start again",
    ),
    Symptom(
        "no capacity",
        r"\bCapacityError\b|InsufficientCapacity|[Ii]nsufficient capacity|"
        r"Unable to provision requested ML compute capacity|MaxWaitTimeExceeded|\bInterrupted\b|"
        r"spot (instance|capacity|request)",
        "AWS had no such instance to spare, or took the spot instance back",
        f"{_RETRY}, training from its last checkpoint; where it happens again set `use_spot` to "
        "false or another `training_instance_type`, `claimflow pipeline upsert`, and start again",
    ),
    Symptom(
        "quota",
        r"ResourceLimitExceeded|account-level service limit|LimitExceededException",
        "a quota of the account is used up",
        f"ask for more under Service Quotas, or wait until other jobs have ended; then {_RETRY}",
    ),
    Symptom(
        "image missing",
        r"Cannot pull algorithm container|CannotPullContainer|Cannot find the requested image|"
        r"manifest unknown|Requested image not found|RepositoryNotFound|ImageNotFound|"
        r"There is no image |Image \S+ cannot run",
        "the image that the definition names is not there",
        "`claimflow images push`, `claimflow pipeline upsert`, and start again",
    ),
    Symptom(
        "access denied",
        r"not authorized to perform: (?P<found>[A-Za-z0-9-]+:[A-Za-z0-9*]+)",
        "a role lacks the permission {found}",
        f"`claimflow deploy` brings the roles up to date; what your organisation denies above them "
        f"its administrators must allow; then {_RETRY}",
    ),
    Symptom(
        "access denied",
        r"AccessDenied|Access Denied|\bForbidden\b|Could not assume role|UnauthorizedOperation",
        "a role lacks a permission, which the message does not name",
        "look into the log below and into CloudTrail for the call; `claimflow deploy` brings the "
        f"roles up to date; then {_RETRY}",
    ),
    Symptom(
        "time-out",
        r"MaxRuntimeInSeconds|MaxRuntimeExceeded|Task timed out|Read timed? ?out|exit code: 124\b",
        "it ran longer than it may",
        "set a larger instance or fewer Epochs, `claimflow pipeline upsert`, and start again",
    ),
    Symptom(
        "throttling",
        r"Throttl|Rate exceeded|TooManyRequests|RequestLimitExceeded|\bSlowDown\b",
        "AWS took too many requests at a time from this account",
        f"wait some minutes; then {_RETRY}",
    ),
    Symptom(
        "no data",
        r"No S3 objects found|NoSuchKey|NoSuchBucket",
        "there is nothing at the address of an input",
        "`claimflow data show` tells what there is; start again with data that is there",
    ),
    Symptom(
        "cloud ended",
        r"local cloud (ended|was stopped) while this ran",
        "the local cloud ended while it ran",
        _RETRY,
    ),
    Symptom(
        "service fault",
        r"InternalServerError|InternalFailure|ServiceUnavailable|Internal Server Error",
        "the service itself had a fault",
        _RETRY,
    ),
    Symptom(
        "fault of the code",
        r"Traceback \(most recent call last\)",
        "the code of the step has a fault, or met something that it does not expect",
        "the traceback is in the log below; mend the code, `claimflow images push`, "
        "`claimflow pipeline upsert`, and start again",
    ),
)
STOPPED = Cause("stopped", "somebody stopped it", _RETRY)
MISSED = Cause(
    "bar missed",
    "nothing broke: the model missed a bar",
    "start again with more or better data, or with another bar; a retry would judge it the same",
)
UNKNOWN = Cause(
    "unknown",
    "none of the usual causes fits",
    f"read the reason and the log below; what came from outside may have passed: {_RETRY}",
)


def likely_cause(step: str, reason: str, log: Iterable[str] = ()) -> Cause:
    """The likely cause of a step's failure: by its reason, and only where that says nothing by the
    lines of its log."""
    for text in (reason, "\n".join(log)):
        for symptom in SYMPTOMS:
            found = symptom.step in ("", step) and re.search(symptom.pattern, text)
            if found:
                cause = symptom.cause.format(**found.groupdict())
                return Cause(symptom.name, cause, symptom.advice)
    return UNKNOWN
