"""The local cloud put together: one object that serves, and one place that knows its folders."""

from __future__ import annotations

import json
import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from werkzeug.serving import BaseWSGIServer, make_server

from pipelines.errors import UserError
from pipelines.local.aws_json import Request, invalid
from pipelines.local.batch_jobs import BatchJobs
from pipelines.local.documents import Document, Documents, write_atomically
from pipelines.local.engines import Engine
from pipelines.local.environments import Environments
from pipelines.local.event_sources import EventSources
from pipelines.local.functions import Functions
from pipelines.local.gateway import Gateway
from pipelines.local.iam.access import Access, Caller
from pipelines.local.iam.actions import operation_calls
from pipelines.local.iam.context import Place
from pipelines.local.job_containers import Assumed
from pipelines.local.jobs import Jobs
from pipelines.local.logs import Logs
from pipelines.local.moto_bridge import (
    ObjectStore,
    Roles,
    function_code,
    moto_application,
    request_handler,
)
from pipelines.local.moto_services import BatchResources, EventBus, LogGroups, Queues
from pipelines.local.objects import Objects
from pipelines.local.pipeline_service import PipelineService
from pipelines.local.process_engine import ProcessEngine
from pipelines.local.registry import Registry
from pipelines.local.resources import create_resources
from pipelines.local.schedules import Schedules
from pipelines.local.step_cache import StepCache
from pipelines.local.step_runs import Services
from pipelines.local.tuning_jobs import TuningJobs
from pipelines.settings import LOCAL_ACCOUNT, Settings

SAGEMAKER = "sagemaker.amazonaws.com"
# What the crash of a local cloud may have lost is found at its next start, however young it is.
SWEEP_ALL = {"minimum_age_seconds": 0}
SIGNED_WITH = "local"  # signatures are not checked: the access key is the secret
_NO_OTHER_CREDENTIALS = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
INTERRUPTED = (
    "InternalServerError: The local cloud ended while this ran; "
    "`claimflow pipeline retry` goes on from here"
)
INTERRUPTED_SEARCH = "InternalServerError: The local cloud ended while this ran; start again"


class LocalCloud:
    """The AWS API of this machine, on a loopback address."""

    def __init__(self, settings: Settings, port: int = 0, engine: Engine | None = None) -> None:
        self._settings = settings.with_account(LOCAL_ACCOUNT)
        state = settings.state.resolve()
        region = self._settings.region
        arn = f"arn:aws:{{}}:{region}:{LOCAL_ACCOUNT}"
        self._access_key = _access_key(state)
        self._session, self._session_lock = boto3.Session(), threading.Lock()
        self._access = Access(
            self._access_key, Roles(LOCAL_ACCOUNT), lambda arn: self._jobs.tags(arn)
        )
        self._place = Place(LOCAL_ACCOUNT, region)
        self._objects_of_role: dict[str, Objects] = {}
        self._store = ObjectStore(state / "objects", LOCAL_ACCOUNT, region)
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1",
            port,
            lambda *arguments: self._gateway(*arguments),
            threaded=True,
            request_handler=request_handler(),
        )
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        documents = self._documents = Documents(state / "documents")
        objects = Objects(self.client("s3"))
        self._bus = EventBus(LOCAL_ACCOUNT, region)
        logs = Logs(state / "logs", LogGroups(LOCAL_ACCOUNT, region))
        self._engine = engine = engine or engine_of(self._settings)
        folder = state / "jobs"
        self._logs = logs
        self._registry = Registry(documents, arn.format("sagemaker"), self._announce)
        self._jobs = Jobs(
            documents, arn.format("sagemaker"), logs, engine, folder, self._assume_for_sagemaker
        )
        self._tuning = TuningJobs(
            documents, arn.format("sagemaker"), self._jobs, self._assume_for_sagemaker
        )
        self._functions = Functions(
            lambda name: function_code(LOCAL_ACCOUNT, region, name),
            logs,
            state / "functions",
            self._variables_of,
        )
        self._event_sources = EventSources(self._functions, Queues(LOCAL_ACCOUNT, region))
        self._schedules = Schedules(self._functions, self.client)
        self._batch = BatchJobs(
            documents,
            arn.format("batch"),
            BatchResources(LOCAL_ACCOUNT, region),
            self._bus,
            logs,
            engine,
            state / "batch",
            self._variables_of,
        )
        self._pipelines = PipelineService(
            documents, arn.format("sagemaker"), objects, self._services_of
        )
        self._gateway = Gateway(
            moto_application(),
            self._store,
            [self._pipelines, self._registry, self._jobs, self._tuning],
            self._batch,
            self._functions,
            self._event_sources,
            self._access,
            self._place,
            {"pid": os.getpid(), "state": str(state)},
        )

    def start(self) -> None:
        """Brings back what the files hold, makes what is missing, and serves."""
        self._engine.clear()
        self._store.restore()
        self._jobs.fail_interrupted(INTERRUPTED)
        self._pipelines.fail_interrupted(INTERRUPTED)
        self._tuning.fail_interrupted(INTERRUPTED_SEARCH)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._logs.restore()
        create_resources(self._settings, self.client)
        self._batch.resume()
        self._schedules.start({self._settings.function_arn("sweep"): json.dumps(SWEEP_ALL)})

    def prepare(self) -> None:
        """Makes what the first jobs would otherwise wait for."""
        self._engine.prepare()

    def stop(self) -> None:
        """Stops what runs, and ends."""
        self._tuning.close()
        self._pipelines.close()
        self._schedules.close()
        self._event_sources.close()
        self._batch.close()
        self._functions.close()
        self._engine.clear()
        self._server.shutdown()
        self._server.server_close()

    def client(self, service: str, key: str | None = None) -> Any:
        """A boto3 client of this cloud; with the user's key, unless another is given."""
        with self._session_lock:  # making a client is not safe in several threads; using one is
            return self._session.client(
                service,
                endpoint_url=self.endpoint,
                region_name=self._settings.region,
                aws_access_key_id=key or self._access_key,
                aws_secret_access_key=SIGNED_WITH,
                config=Config(retries={"max_attempts": 2}, read_timeout=120),
            )

    def variables(self) -> dict[str, str]:
        """What makes `aws`, boto3 and any other client use this cloud."""
        return {**self._address(), **_credentials(self._access_key)}

    def _address(self) -> dict[str, str]:
        region = self._settings.region
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
        }

    def _variables_of(self, role: str) -> dict[str, str]:
        """What a process needs to act as a role; without one it has no credentials, and finds none
        in the home of whoever runs this."""
        found = {**self._address(), **_NO_OTHER_CREDENTIALS}
        return {**found, **(_credentials(self._access.key(role)) if role else {})}

    def _objects_of(self, role: str) -> Objects:
        """S3 as a role sees it."""
        if role not in self._objects_of_role:
            self._objects_of_role[role] = Objects(self.client("s3", self._access.key(role)))
        return self._objects_of_role[role]

    def _assume_for_sagemaker(self, role: str) -> Assumed:
        if not self._access.can_be_assumed(role, SAGEMAKER):
            raise invalid(
                f"Could not assume role {role}. Please ensure that the role exists and allows "
                f"principal '{SAGEMAKER}' to assume the role."
            )
        return Assumed(self._variables_of(role), self._objects_of(role))

    def _services_of(self, role: str) -> Services:
        """What the steps of a pipeline with this role call."""

        def authorize(service: str, operation: str, request: Request) -> None:
            calls = operation_calls(service, operation, request, self._place)
            self._access.require(Caller(role), calls)

        return Services(
            self._documents,
            self._jobs,
            self._objects_of(role),
            StepCache(self._documents),
            self._invoke,
            self._registry.create_model_package,
            self._registry.describe_model_package,
            authorize,
        )

    def _invoke(self, arn: str, payload: bytes) -> tuple[bytes, str | None]:
        answer = self._functions.invoke(arn, payload)
        if answer is None:
            return b"", f"function {arn} does not exist"
        if answer.error:
            return b"", str(json.loads(answer.payload).get("errorMessage", answer.error))
        return answer.payload, None

    def _announce(self, package: Document) -> None:
        """Raises the event that EventBridge carries when a package's approval status is set."""
        detail = {
            name: package[name]
            for name in (
                "ModelPackageGroupName",
                "ModelPackageVersion",
                "ModelPackageArn",
                "ModelApprovalStatus",
            )
        }
        event = {
            "Source": "aws.sagemaker",
            "DetailType": "SageMaker Model Package State Change",
            "Resources": [package["ModelPackageArn"]],
            "Detail": json.dumps(detail),
        }
        self._bus.put([event])


def engine_of(settings: Settings) -> Engine:
    """The engine that the settings name.

    Raises
    ------
    UserError
        It does not answer, or not to this user.
    """
    state = settings.state.resolve()
    if settings.engine == "docker" or (state / "containers").exists():
        from pipelines.local.docker_engine import DockerEngine

        if settings.engine == "docker":
            return DockerEngine(settings.project, state)
        with suppress(UserError):  # what one with the other engine left when it was killed
            DockerEngine(settings.project, state).clear()
    environments = Environments(settings.state / "environments")
    return ProcessEngine(environments.find, prepare_all=environments.make_all)


def _credentials(key: str) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": SIGNED_WITH}


def _access_key(state: Path) -> str:
    """The key that requests must carry: other users of this machine reach its loopback addresses,
    too, but cannot read the state folder. It stays the same, so that a shell's exports do."""
    path = state / "access_key"
    if not path.exists():
        write_atomically(path, f"LOCAL{secrets.token_hex(8).upper()}".encode())
    path.chmod(0o600)
    return path.read_text("utf-8")
