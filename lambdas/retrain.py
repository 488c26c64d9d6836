"""Decides whether there is anything to train, and starts the pipeline: whatever asks for it.

People, CI and a schedule call the function itself; new labelled data and drift come by a queue.
`README.md` tells the order of the writes, and what happens when it dies between any two of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal, TypedDict

from botocore.exceptions import ClientError

from lambdas import clients, layout, messages, notices
from lambdas.causes import Asked, Cause, Request, parse, parse_request
from lambdas.changes import DATA, Content, Source, changes, first
from lambdas.datasets import Datasets, DataVersion
from lambdas.errors import RetrainError
from lambdas.events import Ignored
from lambdas.executions import Execution, Executions, History
from lambdas.log import log
from lambdas.messages import DeadLetters, LambdaContext, utc_now
from lambdas.notices import Notice
from lambdas.settings import RetrainSettings

TIME_TO_START = timedelta(seconds=30)  # left when no further file is read or copied
# S3 tells whole seconds, and clocks differ: an upload's own message must not find it too young.
CLOCK_MARGIN = timedelta(seconds=10)
SET_HERE = (*DATA, "DataManifest", "CodeVersion", "Cause")
APPROVAL = "ApprovalStatus"  # given by whoever may start a run, it would approve without a record
NO_COMMIT = "unknown"


class Result(TypedDict):
    """The answer to a direct invocation.

    Attributes
    ----------
    execution: the ARN of the one that was started, that runs already with the same content, or
        that has settled it.
    changes: since the newest execution that succeeded or whose model missed a bar, in sentences.
    previous: that one; without one, the newest that ended at all; where an older one has settled
        the same, that older one.
    """

    outcome: Literal["started", "running", "unchanged"]
    execution: str
    data_version: str
    manifest: str
    changes: list[str]
    previous: str | None
    previous_outcome: str | None


def handler(event: dict[str, Any], context: LambdaContext) -> messages.Answer | Result:
    """Answers a direct invocation, or handles a batch of SQS messages.

    Raises
    ------
    RetrainError: a direct invocation asks for what there is not, in one line for people.
    """
    retrainer, dead_letters = _retrainer()
    if "Records" in event:
        return messages.handle_batch(event, context, retrainer, dead_letters)
    deadline = retrainer.now() + timedelta(milliseconds=context.get_remaining_time_in_millis())
    return retrainer.run(parse_request(event), deadline)


class Retrainer(messages.Handler):
    """Answers requests, and handles messages one by one."""

    def __init__(
        self,
        settings: RetrainSettings,
        datasets: Datasets,
        executions: Executions,
        sns: Any,
        now: Callable[[], datetime],
    ) -> None:
        self._now = now
        self._settings = settings
        self._datasets = datasets
        self._executions = executions
        self._sns = sns

    def now(self) -> datetime:
        return self._now()

    def handle(self, body: str, deadline: datetime) -> None:
        """Handles one message. Whatever it raises, the message may be handled again."""
        match parse(body, self._settings):
            case Ignored(name, reason):
                log("ignored", name=name, reason=reason)
            case Asked(cause, by):
                self._asked(cause, by, deadline)

    def run(self, request: Request, deadline: datetime) -> Result:
        """Starts a training if there is something to train that no execution has settled.

        Raises
        ------
        RetrainError: it lacks something that people can give it.
        DataChangedError, OutOfTimeError: calling again may help, see `lambdas.datasets`.
        """
        definition = self._executions.definition()
        self._check_parameters(definition, request)
        data = self._datasets.pin(deadline - TIME_TO_START)
        addresses = {
            name: data.address(f"{part}/") for name, part in zip(DATA, layout.SETS, strict=True)
        }
        now = Source(Content(definition, {**request.parameters, **addresses}), data)
        history = self._executions.history()
        settled = history.settled
        then = self._source(settled) if settled else None
        previous = settled or history.ended
        result = Result(
            outcome="running",
            execution="",
            data_version=data.id,
            manifest=data.address(layout.MANIFEST),
            changes=changes(then, now) if then else [first(data)],
            previous=previous.arn if previous else None,
            previous_outcome=previous.outcome if previous else None,
        )
        if running := self._running(history, now.content):
            result["execution"] = running.arn
        elif not request.again and (same := self._settled(history, result["changes"], now.content)):
            result |= {
                "outcome": "unchanged",
                "execution": same.arn,
                "previous": same.arn,
                "previous_outcome": same.outcome,
            }
        else:
            result |= {
                "outcome": "started",
                "execution": self._start(request, now.content, data, history),
            }
        log("decided", cause=request.cause, **result)
        return result

    def _asked(self, cause: Cause, by: str, deadline: datetime) -> None:
        if cause == "data" and self._is_more_coming():
            log("ignored", cause=cause, by=by, reason="newer files were added; theirs is to come")
            return
        try:
            result = self.run(Request(cause), deadline)
        except RetrainError as error:
            log("not-trained", cause=cause, by=by, reason=str(error))
            self._tell(notices.not_trained(str(error)))
            return
        if cause == "drift" and result["outcome"] == "unchanged":
            self._tell(notices.fresh_labels_needed(by, self._settings.data_bucket))

    def _is_more_coming(self) -> bool:
        """Whether a file was added so lately that its own message is still on its way. Of drift
        there is no later message, and new files may not send any (`RetrainOnData`)."""
        quiet = timedelta(seconds=self._settings.quiet_seconds) - CLOCK_MARGIN
        newest = max((file.added for file in self._datasets.labelled()), default=None)
        return newest is not None and self.now() - newest < quiet

    def _check_parameters(self, definition: Mapping[str, Any], request: Request) -> None:
        known = [one["Name"] for one in definition.get("Parameters", [])]
        pipeline = f"the pipeline {self._settings.pipeline_name}"
        missing = [name for name in SET_HERE if name not in known]
        if missing:
            raise RetrainError(
                f"{pipeline} has no parameter {', '.join(missing)}: it is older than what starts "
                "it; store today's with `claimflow pipeline upsert`"
            )
        taken = sorted(request.parameters.keys() & set(SET_HERE))
        if taken:
            raise RetrainError(f"{', '.join(taken)} cannot be given: a retraining sets it itself")
        if APPROVAL in request.parameters:
            raise RetrainError(
                f"{APPROVAL} cannot be given: a retraining approves nothing; look at the version, "
                "then `claimflow model approve VERSION --why …`"
            )
        unknown = sorted(request.parameters.keys() - set(known))
        if unknown:
            have = ", ".join(name for name in known if name not in (*SET_HERE, APPROVAL))
            raise RetrainError(f"{pipeline} has no parameter {', '.join(unknown)}; it has {have}")

    def _source(self, execution: Execution) -> Source:
        content = self._executions.content(execution)
        version = layout.parse_version(
            str(content.parameters.get(DATA[0])), self._settings.data_bucket
        )
        return Source(content, self._datasets.read(version) if version else None)

    def _running(self, history: History, content: Content) -> Execution | None:
        for execution in history.running:
            if self._executions.content(execution).digest == content.digest:
                return execution
        return None

    def _settled(
        self, history: History, changed: Sequence[str], content: Content
    ) -> Execution | None:
        """The newest execution that has settled the same: after a training with other parameters,
        for once, it is not the newest of all."""
        if history.settled and not changed:
            return history.settled
        return self._executions.settled_with(content, history)

    def _start(
        self, request: Request, content: Content, data: DataVersion, history: History
    ) -> str:
        """The token stands for what is trained, and for all that ended before: so whoever starts
        the same at the same time, or again because an answer was lost, gets the same execution; and
        one that has failed is not taken for an answer."""
        ended = history.ended.arn if history.ended else ""
        token = hashlib.sha256(f"{content.digest}\n{ended}".encode()).hexdigest()
        parameters = {
            **content.given,
            "DataManifest": data.address(layout.MANIFEST),
            "CodeVersion": request.commit or self._newest_commit(history),
            "Cause": request.cause,
        }
        try:
            return self._executions.start(parameters, token)
        except ClientError as error:
            answer = error.response.get("Error", {})
            if answer.get("Code") == "ConflictException":
                # The same token, of one that started with another commit or cause a moment ago.
                running = self._running(self._executions.history(), content)
                if running:
                    return running.arn
            if answer.get("Code") != "ValidationException":
                raise
            reason = messages.one_line(answer.get("Message", ""), messages.LONGEST_REASON)
            raise RetrainError(f"the pipeline cannot be started: {reason}") from None

    def _newest_commit(self, history: History) -> str:
        for execution in history.executions:
            commit = self._executions.parameters(execution).get("CodeVersion", NO_COMMIT)
            if commit != NO_COMMIT:
                return commit
        return NO_COMMIT

    def _tell(self, notice: Notice) -> None:
        self._sns.publish(
            TopicArn=self._settings.topic_arn, Subject=notice.subject, Message=notice.text
        )


@cache
def _retrainer() -> tuple[Retrainer, DeadLetters]:
    """Made once for each process that Lambda keeps warm."""
    settings = RetrainSettings.from_environment()
    retrainer = Retrainer(
        settings,
        Datasets(clients.s3(), settings.data_bucket, utc_now),
        Executions(clients.sagemaker(), settings.pipeline_name),
        clients.sns(),
        utc_now,
    )
    return retrainer, DeadLetters(
        clients.sqs(), settings.dead_letter_queue_url, settings.max_receives
    )
