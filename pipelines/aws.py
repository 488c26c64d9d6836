"""AWS as the commands need it: clients of the place that the environment names, readable errors."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import UserError
from pipelines.settings import Settings
from pipelines.transfers import Progress, download, untold

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

HOW_TO_REACH = (
    'for the local cloud: `claimflow local up` and then `eval "$(claimflow local env)"`; '
    "for AWS: set credentials as for the aws command"
)


class Aws:
    """Clients for one deployment, wherever it runs."""

    def __init__(self, settings: Settings, variables: dict[str, str] | None = None) -> None:
        """`variables` name the place and the keys, instead of the environment."""
        self._given = settings
        self._variables = variables or {}
        self._clients: dict[tuple[str, float | None], Any] = {}
        self._lock = threading.RLock()  # threads may share clients, but not make them together

    @property
    def given(self) -> Settings:
        """The settings as they were read; nobody is asked for the account."""
        return self._given

    @cached_property
    def settings(self) -> Settings:
        """The settings, with the account that the credentials belong to."""
        account = self.client("sts").get_caller_identity()["Account"]
        if self._given.account not in (None, account):
            raise UserError(
                f"The setting account is {self._given.account}, but the credentials belong to "
                f"{account}: use the right profile, or leave the setting out"
            )
        return self._given.with_account(account)

    def client(self, service: str, answers_within: float | None = None) -> Any:
        """A client of a service; with `answers_within` a call may take so many seconds, and is not
        repeated when it takes longer."""
        with self._lock:
            if (service, answers_within) not in self._clients:
                made = self._new_client(service, answers_within)
                self._clients[service, answers_within] = made
            return self._clients[service, answers_within]

    def forget_credentials(self) -> None:
        """Has the next client look for credentials anew: those that were found have expired, and
        new ones may belong to another account."""
        with self._lock:
            self._clients.clear()
            self.__dict__.pop("_session", None)
            self.__dict__.pop("settings", None)

    def _new_client(self, service: str, answers_within: float | None) -> Any:
        more: dict[str, Any] = {}
        if answers_within:
            from botocore.config import Config

            more["config"] = Config(read_timeout=answers_within, retries={"total_max_attempts": 1})
        if self._variables:
            more |= {
                "endpoint_url": self._variables["AWS_ENDPOINT_URL"],
                "aws_access_key_id": self._variables["AWS_ACCESS_KEY_ID"],
                "aws_secret_access_key": self._variables["AWS_SECRET_ACCESS_KEY"],
            }
        return self._session.client(service, region_name=self._given.region, **more)

    @cached_property
    def _session(self) -> Any:
        """boto3's default session would keep the credentials that it found first."""
        import boto3

        return boto3.Session()


def split_uri(uri: str) -> tuple[str, str]:
    """`s3://bucket/key` → (bucket, key)."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def download_folder(s3: Any, uri: str, folder: Path, progress: Progress = untold) -> list[Path]:
    """Downloads what lies below `s3://bucket/prefix` into a folder, and returns the files."""
    bucket, prefix = split_uri(uri)
    prefix = f"{prefix.rstrip('/')}/"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    paths = []
    for item in (item for page in pages for item in page.get("Contents", [])):
        path = folder / item["Key"][len(prefix) :]
        if not path.resolve().is_relative_to(folder.resolve()):
            continue  # a key that would lead out of the folder
        path.parent.mkdir(parents=True, exist_ok=True)
        download(s3, bucket, item["Key"], path, progress, item["Size"])
        paths.append(path)
    return paths


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Turns what AWS and boto3 raise into one line for people."""
    from boto3.exceptions import Boto3Error
    from botocore import exceptions

    try:
        yield
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError):
        raise UserError(f"No AWS credentials were found; {HOW_TO_REACH}") from None
    except (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError):
        place = os.environ.get("AWS_ENDPOINT_URL", "AWS")
        raise UserError(f"{place} does not answer; {HOW_TO_REACH}") from None
    except exceptions.ClientError as error:
        raise UserError(_sentence(error)) from None
    except (exceptions.BotoCoreError, Boto3Error) as error:
        raise UserError(" ".join(str(error).split())) from None


def _sentence(error: ClientError) -> str:
    told = error.response["Error"]
    message = " ".join(str(told.get("Message", "")).split())
    return f"AWS refused {error.operation_name}: {message or told.get('Code')} ({told.get('Code')})"
