"""What policies say: the matching of names, the order of the statements, and conditions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.local.iam.policies import Call, arn_matches, decide, matches, resource_matches

OBJECT = "arn:aws:s3:::data/claims/new.csv"
LETTERS = st.text("ab:/.*?[\n", max_size=8)


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "*", resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def fits(pattern: str, value: str) -> bool:
    """The meaning of a pattern, letter by letter."""
    if not pattern:
        return not value
    if pattern[0] == "*":
        return fits(pattern[1:], value) or (bool(value) and fits(pattern, value[1:]))
    return bool(value) and pattern[0] in ("?", value[0]) and fits(pattern[1:], value[1:])


@given(LETTERS, LETTERS)
def test_a_star_is_any_text_and_a_question_mark_any_character(pattern: str, value: str) -> None:
    assert matches(pattern, value) == fits(pattern, value)


@given(st.text(max_size=20))
def test_a_text_without_wildcards_fits_itself_and_a_star(value: str) -> None:
    assert matches("*", value)
    plain = value.replace("*", "").replace("?", "")
    assert matches(plain, plain)
    assert not matches(plain, f"{plain}x")


@pytest.mark.parametrize(
    ("pattern", "arn", "does"),
    [
        ("*", OBJECT, True),
        ("arn:aws:s3:::data/*", OBJECT, True),
        ("arn:aws:s3:::data", OBJECT, False),
        ("arn:aws:s3:::dat?/claims/*", OBJECT, True),
        ("arn:aws:s3:::*", OBJECT, True),
        ("arn:*", OBJECT, False),
        ("arn:aws:s3:::DATA/*", OBJECT, False),
        ("arn:aws:iam::1*:role/x", "arn:aws:iam::12:role/x", True),
        ("arn:aws:iam::*role/x", "arn:aws:iam::12:role/x", False),
        ("arn:aws:logs:r:1:log-group:/aws/*:*", "arn:aws:logs:r:1:log-group:/aws/x:y", True),
        ("arn:aws:s3:::data/*", "*", False),
    ],
)
def test_wildcards_in_an_arn_stay_between_its_colons(pattern: str, arn: str, does: bool) -> None:
    assert arn_matches(pattern, arn) is does


@pytest.mark.parametrize(
    ("pattern", "arn", "does"),
    [
        ("*", OBJECT, True),
        ("arn:aws:s3:::data/*", OBJECT, True),
        ("arn:aws:s3:::data", OBJECT, False),
        ("arn:aws:s3:::DATA/*", OBJECT, False),
        # The user guide: the last of a part, it can match beyond the colons.
        ("arn:*", OBJECT, True),
        ("arn:aws:s3*", OBJECT, True),
        ("arn:aws:sqs*", OBJECT, False),
        ("arn:aws:iam::*", "arn:aws:iam::12:role/x", True),
        ("arn:aws:iam::1*:role/x", "arn:aws:iam::12:role/x", True),
        ("arn:aws:iam::2*:role/x", "arn:aws:iam::12:role/x", False),
        ("arn:aws:iam::*role/x", "arn:aws:iam::12:role/x", False),
        ("arn:aws:iam::?:role/x", "arn:aws:iam::12:role/x", False),
        ("arn:aws:iam", "arn:aws:iam::12:role/x", False),
        ("arn:aws:batch:r:1:job-definition/d:*", "arn:aws:batch:r:1:job-definition/d:3", True),
        ("arn:aws:batch:r:1:job-definition/d:*", "arn:aws:batch:r:1:job-definition/d", False),
        ("arn:aws:s3:::data/*", "*", False),
    ],
)
def test_a_wildcard_that_ends_a_part_of_a_resource_reaches_further(
    pattern: str, arn: str, does: bool
) -> None:
    assert resource_matches(pattern, arn) is does


READ = Call("s3:GetObject", OBJECT)


@pytest.mark.parametrize(
    ("statements", "allowed", "explicit"),
    [
        ([], False, False),
        ([allow()], True, False),
        ([allow("s3:Get*")], True, False),
        ([allow("S3:getobject")], True, False),
        ([allow(["s3:PutObject", "s3:GetObject"])], True, False),
        ([allow("s3:PutObject")], False, False),
        ([allow("s3:Get")], False, False),
        ([allow(resource="arn:aws:s3:::other/*")], False, False),
        ([allow(resource=["arn:aws:s3:::other/*", OBJECT])], True, False),
        ([allow(), deny("s3:GetObject")], False, True),
        ([deny("s3:GetObject"), allow()], False, True),
        ([allow(), deny("s3:DeleteObject")], True, False),
        ([deny(resource="arn:aws:s3:::other/*"), allow()], True, False),
        ([{"Effect": "Allow", "NotAction": "s3:Put*", "Resource": "*"}], True, False),
        ([{"Effect": "Allow", "NotAction": "s3:Get*", "Resource": "*"}], False, False),
        ([{"Effect": "Allow", "Action": "*", "NotResource": OBJECT}], False, False),
        ([{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::x/*"}], True, False),
        ([allow(), {"Effect": "Deny", "Action": "*", "NotResource": OBJECT}], True, False),
    ],
)
def test_a_deny_wins_then_an_allow_else_it_is_denied(
    statements: list[dict[str, Any]], allowed: bool, explicit: bool
) -> None:
    # The same, whether the statements stand in one policy or each in its own.
    for policies in ([policy(*statements)], [policy(one) for one in statements]):
        decision = decide(policies, READ)
        assert (decision.allowed, decision.explicit) == (allowed, explicit)


CONTEXT = {
    "s3:prefix": ("claims/new",),
    "s3:delimiter": (),  # known to be absent
    "aws:securetransport": ("true",),
    "aws:sourceip": ("10.1.2.3",),
    "aws:principalaccount": ("123456789012",),
    "s3:max-keys": ("20",),
    "aws:sourcearn": ("arn:aws:s3:::data",),
    "aws:tagkeys": ("project", "stage"),
    "aws:requesttag/project": ("claims",),
    "x:any": ("a*b",),
}


@pytest.mark.parametrize(
    ("operator", "key", "values", "holds"),
    [
        ("StringEquals", "s3:prefix", "claims/new", True),
        ("StringEquals", "S3:PREFIX", "claims/new", True),
        ("StringEquals", "s3:prefix", ["other", "claims/new"], True),
        ("StringEquals", "s3:prefix", "claims/*", False),
        ("StringEquals", "s3:prefix", "CLAIMS/NEW", False),
        ("StringEqualsIgnoreCase", "s3:prefix", "CLAIMS/NEW", True),
        ("StringNotEquals", "s3:prefix", ["other", "claims/new"], False),
        ("StringNotEquals", "s3:prefix", "other", True),
        ("StringLike", "s3:prefix", "claims/*", True),
        ("StringLike", "s3:prefix", "other/*", False),
        ("StringNotLike", "s3:prefix", "claims/*", False),
        # A key that the request lacks.
        ("StringEquals", "s3:delimiter", "/", False),
        ("StringNotEquals", "s3:delimiter", "/", True),
        ("StringEqualsIfExists", "s3:delimiter", "/", True),
        ("StringEqualsIfExists", "s3:prefix", "other", False),
        ("Null", "s3:delimiter", "true", True),
        ("Null", "s3:delimiter", "false", False),
        ("Null", "s3:prefix", "false", True),
        # A tag that the request does not set is known to be absent.
        ("StringEquals", "aws:RequestTag/project", "claims", True),
        ("Null", "aws:RequestTag/owner", "true", True),
        # Several values.
        ("ForAnyValue:StringEquals", "aws:TagKeys", "stage", True),
        ("ForAnyValue:StringEquals", "aws:TagKeys", "owner", False),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["stage", "project", "x"], True),
        ("ForAllValues:StringEquals", "aws:TagKeys", ["stage"], False),
        ("ForAllValues:StringLike", "s3:delimiter", "x", True),
        ("ForAnyValue:StringLike", "s3:delimiter", "x", False),
        # Other types.
        ("Bool", "aws:SecureTransport", True, True),
        ("Bool", "aws:SecureTransport", "false", False),
        ("NumericLessThanEquals", "s3:max-keys", 20, True),
        ("NumericLessThan", "s3:max-keys", 20, False),
        ("NumericGreaterThan", "s3:max-keys", "3", True),
        ("NumericEquals", "s3:prefix", "3", False),
        ("IpAddress", "aws:SourceIp", "10.0.0.0/8", True),
        ("NotIpAddress", "aws:SourceIp", "10.0.0.0/8", False),
        ("ArnLike", "aws:SourceArn", "arn:aws:s3:::dat*", True),
        ("ArnNotEquals", "aws:SourceArn", "arn:aws:s3:::dat*", False),
        # Policy variables; what they put in is no wildcard.
        ("StringEquals", "aws:PrincipalAccount", "${aws:PrincipalAccount}", True),
        ("StringLike", "x:any", "${x:any}", True),
        ("StringLike", "s3:prefix", "claims/${*}", False),
        ("StringLike", "x:any", "a${*}b", True),
    ],
)
def test_conditions_hold_as_aws_documents_them(
    operator: str, key: str, values: Any, holds: bool
) -> None:
    condition = {"Condition": {operator: {key: values}}}
    call = Call("s3:ListBucket", "arn:aws:s3:::data", CONTEXT)
    assert decide([policy(allow(**condition))], call).allowed is holds
    assert decide([policy(allow(), deny(**condition))], call).explicit is holds


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:PrincipalOrgID": "o-1"}},  # nothing is known of this key
        {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}},
        {"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}},
        {"Null": {"aws:PrincipalOrgID": "true"}},
        {"DateLessThan": {"aws:CurrentTime": "2100-01-01"}},  # nor this operator
        {"ForSomeValues:StringEquals": {"s3:prefix": "claims/new"}},
        {"StringLike": {"s3:prefix": "${aws:username}*"}},  # nor this variable
    ],
)
def test_what_cannot_be_known_neither_allows_nor_keeps_from_denying(condition: Any) -> None:
    call = Call("s3:ListBucket", "arn:aws:s3:::data", CONTEXT)
    assert not decide([policy(allow(Condition=condition))], call).allowed
    assert decide([policy(allow(), deny(Condition=condition))], call).explicit


def test_all_conditions_of_a_statement_have_to_hold() -> None:
    condition = {
        "StringLike": {"s3:prefix": "claims/*", "s3:delimiter": "/"},
        "Bool": {"aws:SecureTransport": "true"},
    }
    call = Call("s3:ListBucket", "arn:aws:s3:::data", CONTEXT)
    assert not decide([policy(allow(Condition=condition))], call).allowed
    with_delimiter = Call(call.action, call.resource, {**CONTEXT, "s3:delimiter": ("/",)})
    assert decide([policy(allow(Condition=condition))], with_delimiter).allowed


def test_a_variable_in_a_resource_is_filled_in() -> None:
    own = policy(allow(resource="arn:aws:s3:::data-${aws:PrincipalAccount}/*"))
    for account, allowed in (("123456789012", True), ("999999999999", False)):
        call = Call("s3:GetObject", f"arn:aws:s3:::data-{account}/x", CONTEXT)
        assert decide([own], call).allowed is allowed
