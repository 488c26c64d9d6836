"""What the identity-based policies of a role say to one call, as IAM evaluates them.

An explicit deny wins, then an allow, else it is denied (IAM user guide, "Policy evaluation logic",
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html, and "IAM
JSON policy elements reference"). What is left out stands in the package's docstring.

What this cannot know fails closed: an operator, a condition key or a policy variable without a
value here never helps an Allow to match, and never keeps a Deny from matching.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_ARN_PARTS = 6
# Tags are known all or not at all: these are the keys that say so.
_TAGS = {"aws:requesttag/": "aws:tagkeys", "aws:resourcetag/": "aws:resourcetagkeys"}


@dataclass(frozen=True)
class Call:
    """One action on one resource, `*` where the action knows none.

    `context` holds the condition keys (in lower case) that are known for the call; one without a
    value in the request has no values. A key that is missing is one that nothing is known of.
    """

    action: str
    resource: str
    context: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def values(self, key: str) -> tuple[str, ...] | None:
        """The values of a condition key; None where nothing is known of it."""
        key = key.lower()
        kind = _TAGS.get(key.partition("/")[0] + "/")
        return self.context.get(key, () if kind in self.context else None)


def tag_context(kind: str, tags: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The condition keys of tags: of a request (`aws:requesttag/`), or of what is there already
    (`aws:resourcetag/`)."""
    found = {f"{kind}{name.lower()}": (str(value),) for name, value in tags.items()}
    return {**found, _TAGS[kind]: tuple(tags)}


@dataclass(frozen=True)
class Decision:
    """Whether a call is allowed, and if not, whether a statement denies it."""

    allowed: bool
    explicit: bool = False

    def reason(self, action: str) -> str:
        """Why not, as AWS words it."""
        if self.explicit:
            return "with an explicit deny in an identity-based policy"
        return f"because no identity-based policy allows the {action} action"


@dataclass(frozen=True)
class Condition:
    """One line of a Condition block: all keys of all operators have to hold."""

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """One statement; of `actions` and `resources`, `not_…` tells the form that excludes."""

    effect: str
    actions: re.Pattern[str]
    not_actions: bool
    resources: tuple[str, ...]
    not_resources: bool
    conditions: tuple[Condition, ...]


def decide(policies: Iterable[str], call: Call) -> Decision:
    """What policies, given as the text of their documents, say to a call."""
    allowed = False
    for statement in (one for text in policies for one in parse_policy(text)):
        if statement.effect == "Deny" and _applies(statement, call, if_unknown=True):
            return Decision(allowed=False, explicit=True)
        allowed = allowed or (
            statement.effect == "Allow" and _applies(statement, call, if_unknown=False)
        )
    return Decision(allowed)


@lru_cache(maxsize=256)
def parse_policy(text: str) -> tuple[Statement, ...]:
    """The statements of a policy document; the same text is parsed once."""
    document = json.loads(text)
    return tuple(_statement(one) for one in _many(document["Statement"]))


def matches(pattern: str, value: str) -> bool:
    """Whether a value fits a pattern, where `*` is any text, also none, and `?` any character."""
    return _regex(pattern).fullmatch(value) is not None


def arn_matches(pattern: str, arn: str) -> bool:
    """Whether an ARN fits a pattern of a condition: part by part, so that no wildcard reaches over
    one of its first five colons."""
    return pattern == "*" or _arn_regex(pattern).fullmatch(arn) is not None


def resource_matches(pattern: str, arn: str) -> bool:
    """Whether an ARN fits a pattern of Resource, where a `*` that ends one of its parts reaches
    over the colons behind it, too ("IAM JSON policy elements: Resource")."""
    return pattern == "*" or _resource_regex(pattern).fullmatch(arn) is not None


def _statement(document: dict[str, Any]) -> Statement:
    not_actions, not_resources = "NotAction" in document, "NotResource" in document
    conditions = tuple(
        Condition(operator, key, tuple(_text(value) for value in _many(values)))
        for operator, block in (document.get("Condition") or {}).items()
        for key, values in block.items()
    )
    return Statement(
        document["Effect"],
        _any_of(_many(document["NotAction" if not_actions else "Action"])),
        not_actions,
        tuple(_many(document["NotResource" if not_resources else "Resource"])),
        not_resources,
        conditions,
    )


def _applies(statement: Statement, call: Call, *, if_unknown: bool) -> bool:
    if bool(statement.actions.fullmatch(call.action)) is statement.not_actions:
        return False
    covered = _covers(statement, call)
    if covered is False:
        return False
    verdicts = [covered, *(_holds(condition, call) for condition in statement.conditions)]
    return all(if_unknown if verdict is None else verdict for verdict in verdicts)


def _covers(statement: Statement, call: Call) -> bool | None:
    """Whether the resource is one of the statement's; None where a variable has no value."""
    patterns = [_resolve(one, call) for one in statement.resources]
    if any(one is not None and resource_matches(one, call.resource) for one in patterns):
        return not statement.not_resources
    return None if None in patterns else statement.not_resources


def _holds(condition: Condition, call: Call) -> bool | None:
    """Whether a condition holds; None where that cannot be told."""
    group, _, name = condition.operator.rpartition(":")
    if_exists = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    found = call.values(condition.key)
    if found is None or group not in ("", "ForAnyValue", "ForAllValues"):
        return None
    if name == "Null":
        return (not found) is (condition.values[0].lower() == "true")
    negated = name.replace("Not", "", 1) if "Not" in name else None
    compare = _COMPARE.get(negated or name)
    wanted = [_resolve(one, call) for one in condition.values]
    if compare is None or None in wanted:
        return None
    if not found and (if_exists or group == ""):
        return if_exists or negated is not None

    def fits(value: str) -> bool:
        return any(_compared(compare, one, value) for one in wanted) is (negated is None)

    # Without a set operator, of several values a negated one must fit none, another any.
    as_all = group == "ForAllValues" or (group == "" and negated is not None)
    return all(map(fits, found)) if as_all else any(map(fits, found))


def _compared(compare: Callable[[str, str], bool], wanted: str | None, value: str) -> bool:
    try:
        return wanted is not None and compare(wanted, value)
    except ValueError:  # no number, or no address
        return False


# (value of the policy, value of the request) → whether it fits.
_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda wanted, value: _literal(wanted) == value,
    "StringEqualsIgnoreCase": lambda wanted, value: _literal(wanted).lower() == value.lower(),
    "StringLike": matches,
    "ArnEquals": arn_matches,
    "ArnLike": arn_matches,
    "Bool": lambda wanted, value: wanted.lower() == value.lower(),
    "NumericEquals": lambda wanted, value: float(value) == float(wanted),
    "NumericLessThan": lambda wanted, value: float(value) < float(wanted),
    "NumericLessThanEquals": lambda wanted, value: float(value) <= float(wanted),
    "NumericGreaterThan": lambda wanted, value: float(value) > float(wanted),
    "NumericGreaterThanEquals": lambda wanted, value: float(value) >= float(wanted),
    "IpAddress": lambda wanted, value: (
        ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)
    ),
}

# A character that stands for itself, in what `_resolve` makes of `${*}` or of a variable's value.
_ESCAPED = {"*": "\ue000", "?": "\ue001"}
_ORIGINAL = {escaped: original for original, escaped in _ESCAPED.items()}


def _resolve(text: str, call: Call) -> str | None:
    """The text with the values of its policy variables; None where one has no single value."""
    if "${" not in text:
        return text
    parts = _VARIABLE.split(text)
    for index in range(1, len(parts), 2):
        name = parts[index]
        values = (name,) if name in ("*", "?", "$") else call.values(name)
        if not values or len(values) > 1:
            return None
        parts[index] = "".join(_ESCAPED.get(letter, letter) for letter in values[0])
    return "".join(parts)


def _literal(text: str) -> str:
    return "".join(_ORIGINAL.get(letter, letter) for letter in text)


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    return re.compile(_translated(pattern, "."), re.DOTALL)


def _any_of(actions: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(_translated(one, ".") for one in actions), re.IGNORECASE)


@cache
def _arn_regex(pattern: str) -> re.Pattern[str]:
    *parts, resource = pattern.split(":", _ARN_PARTS - 1)
    if len(parts) < _ARN_PARTS - 1:
        return re.compile("(?!)")  # no ARN, and fits none
    regex = "".join(f"{_translated(part, '[^:]')}:" for part in parts)
    return re.compile(regex + _translated(resource, "."), re.DOTALL)


@cache
def _resource_regex(pattern: str) -> re.Pattern[str]:
    *parts, last = pattern.split(":", _ARN_PARTS - 1)
    regex = "".join(f"{_translated_part(part)}:" for part in parts)
    is_whole = len(parts) == _ARN_PARTS - 1
    return re.compile(
        regex + (_translated(last, ".") if is_whole else _translated_part(last)), re.DOTALL
    )


def _translated_part(part: str) -> str:
    regex = _translated(part, "[^:]")
    return regex.removesuffix("[^:]*") + ".*" if part.endswith("*") else regex


def _translated(pattern: str, letter: str) -> str:
    """A pattern as a regular expression, where `letter` is what a wildcard stands for."""
    wild = {"*": f"{letter}*", "?": letter}
    collapsed = re.sub(r"\*+", "*", pattern)
    return "".join(wild.get(one) or re.escape(_ORIGINAL.get(one, one)) for one in collapsed)


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
