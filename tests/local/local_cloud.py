"""What the tests of the local cloud share: a running cloud, and pipelines made of small scripts."""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

OK = "print('done')"  # a script that succeeds
ACCOUNT, REGION = "123456789012", "us-east-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/everything"  # of the tests: it may do all, for any service
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/t/plain:1"
BUCKET = f"t-test-data-{ACCOUNT}-{REGION}"
WAIT = 20.0  # seconds; everything here takes a fraction of one on a quiet machine
Document = dict[str, Any]


class Cloud:
    """A local cloud in a process of its own (moto keeps its state per process)."""

    def __init__(self, state: Path, program: str = "cloud_process.py", **variables: str) -> None:
        # No address and no certificate of the user's own may reach it.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("AWS_")
        } | variables
        self.state = state
        self.log = state.parent / f"{state.name}.log"
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name(program)), str(state)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=environment,
                text=True,
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said, self.log.read_text()
        self.variables: dict[str, str] = json.loads(said)
        self.endpoint = self.variables["AWS_ENDPOINT_URL"]
        self._clients: dict[str, Any] = {}
        make_role(self, "everything", {"Effect": "Allow", "Action": "*", "Resource": "*"})

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name=REGION,
                aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
                config=Config(retries={"max_attempts": 0}, read_timeout=60),
            )
        return self._clients[service]

    def crash(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.wait(WAIT)

    # Pipelines.

    def create(self, *steps: Document, parameters: tuple[Document, ...] = ()) -> str:
        """Creates a pipeline under a name of its own and returns that."""
        name = unique("p")
        self.client("sagemaker").create_pipeline(
            PipelineName=name,
            RoleArn=ROLE,
            PipelineDefinition=definition(*steps, parameters=parameters),
        )
        return name

    def start(self, name: str, **parameters: str) -> str:
        started = self.client("sagemaker").start_pipeline_execution(
            PipelineName=name,
            PipelineParameters=[{"Name": key, "Value": value} for key, value in parameters.items()],
        )
        return str(started["PipelineExecutionArn"])

    def finish(self, arn: str) -> Document:
        """Waits for the end of an execution; its description with `Steps` by name."""
        client = self.client("sagemaker")

        def ended() -> Document | None:
            found: Document = client.describe_pipeline_execution(PipelineExecutionArn=arn)
            is_over = found["PipelineExecutionStatus"] in ("Succeeded", "Failed", "Stopped")
            return found if is_over else None

        return {**wait_for(ended), "Steps": self.steps(arn)}

    def run(
        self,
        *steps: Document,
        given: dict[str, str] | None = None,
        parameters: tuple[Document, ...] = (),
    ) -> Document:
        """Runs steps as a new pipeline to its end."""
        return self.finish(self.start(self.create(*steps, parameters=parameters), **(given or {})))

    def status(self, arn: str) -> str:
        found = self.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
        return str(found["PipelineExecutionStatus"])

    def steps(self, arn: str) -> dict[str, Document]:
        listed = self.client("sagemaker").list_pipeline_execution_steps(
            PipelineExecutionArn=arn, SortOrder="Ascending"
        )
        return {step["StepName"]: step for step in listed["PipelineExecutionSteps"]}

    def job(self, execution: Document, step: str) -> Document:
        """The description of the job that a step ran."""
        client, metadata = self.client("sagemaker"), execution["Steps"][step]["Metadata"]
        if "TrainingJob" in metadata:
            name = metadata["TrainingJob"]["Arn"].rpartition("/")[2]
            return dict(client.describe_training_job(TrainingJobName=name))
        name = metadata["ProcessingJob"]["Arn"].rpartition("/")[2]
        return dict(client.describe_processing_job(ProcessingJobName=name))

    # Objects.

    def put(self, text: str, key: str | None = None, bucket: str = BUCKET) -> str:
        """Puts an object and returns its address."""
        key = key or f"{unique('data')}/file.txt"
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode())
        return f"s3://{bucket}/{key}"

    def read(self, uri: str) -> str:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body.decode()

    def keys(self, uri: str) -> list[str]:
        """The keys below an address, relative to it."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        listed = self.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [one["Key"][len(prefix) :].lstrip("/") for one in listed.get("Contents", [])]


def wait_for(check: Callable[[], Any], seconds: float = WAIT) -> Any:
    """What `check` gives as soon as that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s for {check}")


def is_alive(pid: int) -> bool:
    """Whether a process runs (one that has ended but was not reaped does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def pid_of(path: Path) -> int | None:
    """The pid in a file that a job writes, as soon as it is there."""
    return int(path.read_text()) if path.exists() and path.read_text() else None


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def folder(prefix: str = "out") -> str:
    """An address that nothing lies at yet."""
    return f"s3://{BUCKET}/{unique(prefix)}"


def make_role(cloud: Cloud, name: str, *statements: Document) -> str:
    """Makes a role with a policy of these statements, which services may assume; its ARN."""
    iam = cloud.client("iam")
    services = [f"{one}.amazonaws.com" for one in ("sagemaker", "lambda", "ecs-tasks")]
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": services},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    policy = {"Version": "2012-10-17", "Statement": list(statements)}
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=json.dumps(policy))
    return str(made["Role"]["Arn"])


# Definitions.


def definition(*steps: Document, parameters: tuple[Document, ...] = ()) -> str:
    return json.dumps(
        {"Version": "2020-12-01", "Parameters": list(parameters), "Steps": list(steps)}
    )


def parameter(name: str, kind: str, default: Any = None, **more: Any) -> Document:
    return {
        "Name": name,
        "Type": kind,
        **({} if default is None else {"DefaultValue": default}),
        **more,
    }


def get(reference: str) -> Document:
    return {"Get": reference}


def join(*values: Any, on: str = "") -> Document:
    return {"Std:Join": {"On": on, "Values": list(values)}}


def json_get(step: str, file: str, path: str) -> Document:
    reference = {"Get": f"Steps.{step}.PropertyFiles.{file}"}
    return {"Std:JsonGet": {"PropertyFile": reference, "Path": path}}


@cache
def _scripts() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="scripts-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def script_file(script: str) -> str:
    """The path of a file with this content: an entry point is 256 characters long at most."""
    path = _scripts() / f"{hashlib.sha256(script.encode()).hexdigest()[:16]}.py"
    path.write_text(script, "utf-8")
    return str(path)


def processing(
    name: str,
    script: str,
    *,
    inputs: Document | None = None,
    outputs: Document | None = None,
    continuous: bool = False,
    environment: Document | None = None,
    arguments: tuple[Any, ...] = (),
    files: Document | None = None,
    image: str = IMAGE,
    seconds: int = 60,
    **more: Any,
) -> Document:
    """A Processing step that runs a Python script in /opt/ml (its working directory).

    `inputs` and `outputs` are addresses by name; `files` are property files as
    name → (output, path).
    """
    mode = "Continuous" if continuous else "EndOfJob"
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "RoleArn": ROLE,
            "AppSpecification": {
                "ImageUri": image,
                "ContainerEntrypoint": ["python", "-S", script_file(script)],
                **({"ContainerArguments": list(arguments)} if arguments else {}),
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceType": "ml.m5.large",
                    "InstanceCount": 1,
                    "VolumeSizeInGB": 30,
                }
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": seconds},
            "Environment": environment or {},
            "ProcessingInputs": [
                {
                    "InputName": key,
                    "S3Input": {
                        "S3Uri": uri,
                        "LocalPath": f"/opt/ml/processing/{key}",
                        "S3DataType": "S3Prefix",
                        "S3InputMode": "File",
                    },
                }
                for key, uri in (inputs or {}).items()
            ],
            "ProcessingOutputConfig": {
                "Outputs": [
                    {
                        "OutputName": key,
                        "S3Output": {
                            "S3Uri": uri,
                            "LocalPath": f"/opt/ml/processing/{key}",
                            "S3UploadMode": mode,
                        },
                    }
                    for key, uri in (outputs or {}).items()
                ]
            },
        },
        "PropertyFiles": [
            {"PropertyFileName": key, "OutputName": output, "FilePath": path}
            for key, (output, path) in (files or {}).items()
        ],
        **more,
    }


def training(
    name: str,
    script: str,
    *,
    channels: Document | None = None,
    hyperparameters: Document | None = None,
    output: Any = None,
    environment: Document | None = None,
    metrics: Document | None = None,
    checkpoints: str | None = None,
    image: str = IMAGE,
    seconds: int = 60,
    instances: int = 1,
    **more: Any,
) -> Document:
    """A Training step that runs a Python script in /opt/ml (its working directory)."""
    arguments: Document = {
        "RoleArn": ROLE,
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-S", script_file(script)],
            "MetricDefinitions": [
                {"Name": key, "Regex": regex} for key, regex in (metrics or {}).items()
            ],
        },
        "HyperParameters": hyperparameters or {},
        "Environment": environment or {},
        "OutputDataConfig": {"S3OutputPath": output or folder("models")},
        "ResourceConfig": {
            "InstanceType": "ml.c5.2xlarge",
            "InstanceCount": instances,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": seconds},
    }
    if channels:
        arguments["InputDataConfig"] = [
            {
                "ChannelName": key,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": uri,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for key, uri in channels.items()
        ]
    if checkpoints:
        arguments["CheckpointConfig"] = {"S3Uri": checkpoints, "LocalPath": "/opt/ml/checkpoints"}
    return {"Name": name, "Type": "Training", "Arguments": arguments, **more}


def condition(
    name: str,
    *conditions: Document,
    then: tuple[Document, ...] = (),
    otherwise: tuple[Document, ...] = (),
    **more: Any,
) -> Document:
    arguments = {
        "Conditions": list(conditions),
        "IfSteps": list(then),
        "ElseSteps": list(otherwise),
    }
    return {"Name": name, "Type": "Condition", "Arguments": arguments, **more}


def compare(kind: str, left: Any, right: Any) -> Document:
    return {"Type": kind, "LeftValue": left, "RightValue": right}


def fail(name: str, message: Any) -> Document:
    return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


def invoke(name: str, function: str, outputs: tuple[str, ...] = (), **inputs: Any) -> Document:
    return {
        "Name": name,
        "Type": "Lambda",
        "FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}",
        "Arguments": inputs,
        "OutputParameters": [{"OutputName": one, "OutputType": "String"} for one in outputs],
    }


def register(name: str, group: str, model: Any, **more: Any) -> Document:
    arguments = {
        "ModelPackageGroupName": group,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [{"Image": IMAGE, "ModelDataUrl": model}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        **more,
    }
    return {"Name": name, "Type": "RegisterModel", "Arguments": arguments}


def writes(output: str, expression: str, file: str = "out.txt") -> str:
    """A script that writes the value of a Python expression into a file of an output."""
    return f"import os, sys; open('processing/{output}/{file}', 'w').write(str({expression}))"


def output_of(step: str, name: str) -> Document:
    return get(f"Steps.{step}.ProcessingOutputConfig.Outputs['{name}'].S3Output.S3Uri")


def policy(kind: str, attempts: int) -> Document:
    """A retry policy that hardly waits."""
    return {
        "ExceptionType": [kind],
        "IntervalSeconds": 0.05,
        "BackoffRate": 1.0,
        "MaxAttempts": attempts,
    }


# Functions.


def create_function(
    cloud: Cloud, source: str, timeout: int = 10, role: str = ROLE, **environment: str
) -> str:
    """Creates a function from the source of its module and returns its name."""
    name = unique("function")
    cloud.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=role,
        Handler="module.handler",
        Timeout=timeout,
        Code={"ZipFile": zipped(source)},
        Environment={"Variables": environment},
    )
    return name


def zipped(source: str) -> bytes:
    """The zip of a function whose only file is `module.py`."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("module.py", source)
    return content.getvalue()
