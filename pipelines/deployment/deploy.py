"""Deployment on AWS: for each stack a change set, which is shown before it is executed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.aws import Aws
from pipelines.deployment.adoption import Leftover, import_template, to_import
from pipelines.deployment.lambda_package import code_key, zip_lambdas
from pipelines.deployment.stacks import Stack
from pipelines.errors import UserError
from pipelines.settings import Settings

LARGEST_BODY = 51_200  # bytes of a template that a request may carry
PAUSE_SECONDS = 2.0
NOTHING_TO_DO = ("didn't contain changes", "No updates are to be performed")
# States in which a stack has nothing and must go before it can be made again.
NEVER_MADE = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
REACHED = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE")
# What cannot be got back once CloudFormation has replaced or removed it.
HOLDS_DATA = (
    "AWS::S3::Bucket",
    "AWS::ECR::Repository",
    "AWS::KMS::Key",
    "AWS::SageMaker::ModelPackageGroup",
    "AWS::SageMaker::MlflowTrackingServer",
    "AWS::SQS::Queue",
)

Tell = Callable[[str], None]


class StackError(Exception):
    """A stack did not reach its state: which resource, and why."""


@dataclass(frozen=True)
class Change:
    """What happens to one resource."""

    action: str  # Add, Modify, Remove, Import or Dynamic
    id: str
    type: str
    name: str = ""
    replacement: str = ""  # "", Conditional or True
    properties: tuple[str, ...] = ()  # those that change

    @property
    def loses_data(self) -> bool:
        is_lost = self.action == "Remove" or bool(self.replacement)
        return is_lost and self.type in HOLDS_DATA


@dataclass(frozen=True)
class ChangeSet:
    """What a deployment would do to one stack."""

    stack: str
    arn: str
    is_new: bool
    changes: list[Change]


class Deployer:
    """The stacks of one deployment in CloudFormation."""

    def __init__(self, aws: Aws, pause: float = PAUSE_SECONDS) -> None:
        self._aws = aws
        self._cloudformation = aws.client("cloudformation")
        self._pause = pause

    @property
    def settings(self) -> Settings:
        return self._aws.settings

    def state(self, stack: Stack) -> str | None:
        """The status of a stack; None where there is none."""
        found = self._describe(stack)
        return str(found["StackStatus"]) if found else None

    def outputs(self, stack: Stack) -> dict[str, str]:
        """The outputs of a stack; none where it does not exist."""
        found = self._describe(stack) or {}
        return {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}

    def is_there(self, stack: Stack) -> bool:
        """Whether a stack has resources (one in review has none yet)."""
        return self.state(stack) not in (None, "REVIEW_IN_PROGRESS", "DELETE_COMPLETE")

    def delete(self, stack: Stack) -> None:
        """Deletes a stack, protected or not, and waits. What it is to keep stays.

        Raises
        ------
        StackError
            A resource could not be deleted.
        """
        name = stack.name(self.settings)
        before = self._last_event(stack)
        self._protect(name, False)
        self._cloudformation.delete_stack(StackName=name, **self._role())
        while (state := self.state(stack)) not in (None, "DELETE_COMPLETE"):
            if state == "DELETE_FAILED":
                raise StackError(self._failure(stack, before))
            time.sleep(self._pause)

    def prepare(self, stack: Stack, values: Mapping[str, str]) -> ChangeSet | None:
        """Makes a change set; None where nothing would change.

        Raises
        ------
        UserError
            The stack is in a state in which it cannot be changed.
        StackError
            CloudFormation does not take the template or its parameters.
        """
        _check_state(stack.name(self.settings), self.state(stack))
        return self._prepare(
            stack,
            ChangeSetType="UPDATE" if self.is_there(stack) else "CREATE",
            Parameters=[
                {"ParameterKey": key, "ParameterValue": value}
                for key, value in stack.arguments(values).items()
            ],
            Capabilities=["CAPABILITY_NAMED_IAM"],
            Tags=[{"Key": key, "Value": value} for key, value in self.settings.tags.items()],
            **self._template(stack),
        )

    def prepare_import(self, stack: Stack, leftovers: list[Leftover]) -> ChangeSet:
        """Makes a change set that makes a new stack of resources that are there."""
        prepared = self._prepare(
            stack,
            ChangeSetType="IMPORT",
            ResourcesToImport=to_import(leftovers),
            TemplateBody=import_template(leftovers),
        )
        assert prepared is not None, "a stack that is not there has something to import"
        return prepared

    def _prepare(self, stack: Stack, **wanted: Any) -> ChangeSet | None:
        name = stack.name(self.settings)
        is_new = not self.is_there(stack)
        created = self._cloudformation.create_change_set(
            StackName=name,
            ChangeSetName=f"claimflow-{uuid.uuid4().hex[:12]}",
            **wanted,
            **self._role(),
        )
        arn = created["Id"]
        while (described := self._change_set(arn, name))["Status"] not in (
            "CREATE_COMPLETE",
            "FAILED",
        ):
            time.sleep(self._pause)
        if described["Status"] == "FAILED":
            reason = described.get("StatusReason", "no reason was given")
            self._cloudformation.delete_change_set(ChangeSetName=arn, StackName=name)
            if any(words in reason for words in NOTHING_TO_DO):
                return None
            raise StackError(f"{name}: CloudFormation refuses the change: {reason}")
        return ChangeSet(name, arn, is_new, [_change(one) for one in described["Changes"]])

    def discard(self, change_set: ChangeSet) -> None:
        """Takes a change set back, and the empty stack that it was made with."""
        self._cloudformation.delete_change_set(
            ChangeSetName=change_set.arn, StackName=change_set.stack
        )
        if change_set.is_new:
            self._cloudformation.delete_stack(StackName=change_set.stack)

    def execute(self, stack: Stack, change_set: ChangeSet, tell: Tell) -> None:
        """Executes a change set and waits; tells what happens to each resource.

        Raises
        ------
        StackError
            A resource could not be made: the first that failed, and why.
        """
        before = self._last_event(stack)
        self._cloudformation.execute_change_set(
            ChangeSetName=change_set.arn, StackName=change_set.stack
        )
        told = 0
        while True:
            state = self.state(stack) or ""
            events = self._events(stack, before)
            for event in events[told:]:
                tell(_event_line(event))
            told = len(events)
            if state and not state.endswith("_IN_PROGRESS"):
                break
            time.sleep(self._pause)
        if state not in REACHED:
            raise StackError(self._failure(stack, before))
        if not (self._describe(stack) or {}).get("EnableTerminationProtection"):
            self._protect(change_set.stack, True)

    def upload_code(self, bucket: str) -> bool:
        """Puts the functions' zip into the bucket; False where that very zip lies there."""
        return self._put_once(bucket, code_key(), zip_lambdas())

    def _protect(self, name: str, is_protected: bool) -> None:
        self._cloudformation.update_termination_protection(
            EnableTerminationProtection=is_protected, StackName=name
        )

    def _role(self) -> dict[str, str]:
        """The role that CloudFormation works with, if it is not to be the caller's own."""
        role = self.settings.deployment.deploy_role_arn
        return {"RoleARN": role} if role else {}

    def _template(self, stack: Stack) -> dict[str, str]:
        text = stack.path.read_text("utf-8")
        content = text.encode()
        if len(content) <= LARGEST_BODY:
            return {"TemplateBody": text}
        import hashlib

        bucket = self.settings.bucket("data")  # the first stack makes it, which must be smaller
        key = f"code/{stack.room}-{hashlib.sha256(content).hexdigest()}.yaml"
        self._put_once(bucket, key, content)
        place = f"{bucket}.s3.{self.settings.region}.amazonaws.com"
        return {"TemplateURL": f"https://{place}/{key}"}

    def _put_once(self, bucket: str, key: str, content: bytes) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._aws.client("s3").put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            return False
        return True

    def _describe(self, stack: Stack) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        try:
            found = self._cloudformation.describe_stacks(StackName=stack.name(self.settings))
        except ClientError as error:
            if "does not exist" in error.response["Error"].get("Message", ""):
                return None
            raise
        described: dict[str, Any] = found["Stacks"][0]
        return described

    def _change_set(self, arn: str, stack: str) -> dict[str, Any]:
        """A change set with the changes of all its pages."""
        whole: dict[str, Any] = {"Changes": []}
        token: dict[str, str] = {}
        while True:
            page = self._cloudformation.describe_change_set(
                ChangeSetName=arn, StackName=stack, **token
            )
            whole = {**page, "Changes": whole["Changes"] + page.get("Changes", [])}
            if not page.get("NextToken"):
                return whole
            token = {"NextToken": page["NextToken"]}

    def _last_event(self, stack: Stack) -> str:
        pages = self._event_pages(stack)
        return next((str(one["EventId"]) for one in pages), "")

    def _events(self, stack: Stack, before: str) -> list[dict[str, Any]]:
        """What happened after an event, first to last."""
        newest_first = []
        for event in self._event_pages(stack):
            if event["EventId"] == before:
                break
            newest_first.append(event)
        return newest_first[::-1]

    def _event_pages(self, stack: Stack) -> Iterator[dict[str, Any]]:
        pages = self._cloudformation.get_paginator("describe_stack_events").paginate(
            StackName=stack.name(self.settings)
        )
        for page in pages:
            yield from page["StackEvents"]

    def _failure(self, stack: Stack, before: str) -> str:
        """The first resource that failed, and why: what follows it was only cancelled."""
        name = stack.name(self.settings)
        failed = [
            event
            for event in self._events(stack, before)
            if event["ResourceStatus"].endswith("_FAILED") and event.get("ResourceStatusReason")
        ]
        own = [one for one in failed if "cancelled" not in one["ResourceStatusReason"].lower()]
        for event in own or failed:
            return (
                f"{name}: {event['LogicalResourceId']} ({event['ResourceType']}) failed: "
                f"{' '.join(event['ResourceStatusReason'].split())}"
            )
        return f"{name}: it ended as {self.state(stack)}, and no event says why"


def _check_state(name: str, state: str | None) -> None:
    if state is None or state == "REVIEW_IN_PROGRESS":
        return
    if state == "UPDATE_ROLLBACK_FAILED":
        raise UserError(
            f"The stack {name} is stuck ({state}): "
            f"`aws cloudformation continue-update-rollback --stack-name {name}`, then deploy again"
        )
    if state.endswith("_IN_PROGRESS"):
        raise UserError(f"The stack {name} is being changed ({state}): try again when it has ended")
    if state in NEVER_MADE:
        raise UserError(f"The stack {name} is left over from a failure ({state}): it must go first")


def _change(described: dict[str, Any]) -> Change:
    change = described["ResourceChange"]
    replacement = change.get("Replacement", "False")
    targets = [detail.get("Target", {}) for detail in change.get("Details", [])]
    return Change(
        change["Action"],
        change["LogicalResourceId"],
        change["ResourceType"],
        change.get("PhysicalResourceId", ""),
        "" if replacement == "False" else replacement,
        tuple(dict.fromkeys(one["Name"] for one in targets if "Name" in one)),
    )


def _event_line(event: dict[str, Any]) -> str:
    reason = event.get("ResourceStatusReason", "")
    is_failed = event["ResourceStatus"].endswith("_FAILED")
    state = event["ResourceStatus"].replace("_", " ").lower()
    line = f"{event['Timestamp']:%H:%M:%S}  {event['LogicalResourceId']:<32} {state}"
    return f"{line}: {' '.join(reason.split())}" if reason and is_failed else line
