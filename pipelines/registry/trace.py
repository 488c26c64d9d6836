"""From a prediction to everything it comes from, and from a model version to what it predicted.

The way: a file of results → its manifest → the upload, the job and the model version → `lineage`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pipelines.aws import Aws
from pipelines.registry.lineage import Lineage, Lineages
from pipelines.registry.models import Models
from pipelines.uploads import Uploads

Document = dict[str, Any]
SUBMISSIONS = "submissions/"
MOST_READ = 1000  # records that are looked at for what a version predicted: a few seconds
_AT_ONCE = 64
_COUNTS = ("rows_in", "predicted", "rejected", "for_review")
# Of anything in the folder of one attempt: see `lambdas/layout.py`.
_FOLDER = re.compile(r"results/.*/[0-9a-f]{32}/(?:retry-[1-9][0-9]*/)?(?=[^/]*\Z)", re.DOTALL)
_VERSION = re.compile(r"[0-9]{1,5}")  # an upload's id, cut short as lists show it, has six or more


@dataclass
class Trace:
    """What is known, in parts that hold names and values; a part that was not asked for is empty.

    Attributes
    ----------
    prediction, upload: of the results that were asked for.
    predicted: the newest results of the version that was asked for.
    missing: links that could not be followed, a sentence each.
    """

    prediction: Document = field(default_factory=dict)
    upload: Document = field(default_factory=dict)
    lineage: Lineage | None = None
    decisions: list[str] = field(default_factory=list)
    predicted: list[Document] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def document(self) -> Document:
        """For `--json`: each part under its name, those without content empty."""
        return {
            "prediction": self.prediction,
            "upload": self.upload,
            **_parts(self.lineage, self.decisions),
            "predicted": self.predicted,
            "missing": self.missing,
        }


class Traces:
    """The traces of one deployment."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._s3 = aws.client("s3")
        self._models = Models(aws)
        self._results = aws.settings.bucket("results")

    def of(self, what: str, limit: int = 10) -> Trace:
        """The trace of a model version by its number (with its newest `limit` results), or of an
        upload or its results by anything that names them (`Uploads.find`).

        Raises
        ------
        UserError
            There is no such version, or no such upload.
        """
        found = Trace()
        if _VERSION.fullmatch(what):
            self._add_model(found, self._models.show(int(what)).arn)
            found.predicted = list(islice(self._predicted_by(int(what), found), limit))
        else:
            self._add_prediction(found, what)
        if found.lineage:
            found.missing.extend(found.lineage.missing)
        return found

    def _add_prediction(self, found: Trace, what: str) -> None:
        uploads = Uploads(self._aws)
        state = uploads.state(uploads.find(what))
        record, upload = state.record or {}, state.upload
        found.upload = {
            "id": upload.id,
            "address": f"s3://{upload.bucket}/{upload.key}",
            "version": upload.version,
            "etag": upload.etag,
            "uploaded_at": upload.uploaded_at.isoformat() if upload.uploaded_at else "",
            "state": state.words,
        }
        prefix, manifest = record.get("results_prefix", ""), state.manifest
        in_results = what.removeprefix(f"s3://{self._results}/")
        if in_results != what and (folder := _FOLDER.match(in_results)) and folder[0] != prefix:
            prefix = folder[0]  # of an earlier attempt
            manifest = self._json(f"{prefix}manifest.json")
        found.prediction = {
            "manifest": f"s3://{self._results}/{prefix}manifest.json" if manifest else "",
            "job": (manifest or record).get("job_id", ""),
        }
        if manifest is None:
            found.missing.append("there is no manifest of results (yet)")
        else:
            found.prediction |= self._told(manifest)
        arn = (manifest or record).get("model_package_arn", "")
        if arn:
            self._add_model(found, arn)
        else:
            found.missing.append("no model version was chosen for this upload yet")

    def _told(self, manifest: Document) -> Document:
        """What a manifest says of the results beside it."""
        files = [manifest.get(name) for name in ("predictions", "rejects", "report")]
        return {
            "outcome": ": ".join(filter(None, (manifest["outcome"], manifest.get("reason")))),
            "files": [f"s3://{self._results}/{key}" for key in files if key],
            **{name: manifest[name] for name in _COUNTS if name in manifest},
            "model_version": manifest.get("model_package_version", ""),
            "approval_then": manifest.get("approval_status", ""),
            "artifact_sha256": manifest.get("artifact_sha256", ""),
            "code_version": manifest.get("code_version", ""),
        }

    def _add_model(self, found: Trace, arn: str) -> None:
        from botocore.exceptions import ClientError

        try:
            model = self._models.read(arn)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            found.missing.append(f"the model version {arn} is not in the registry ({code})")
            return
        found.lineage = Lineages(self._aws).of(model)
        if model.arn.rpartition("/")[0].endswith(f"/{self._aws.settings.model_package_group}"):
            found.decisions = [
                one.line for one in self._models.decisions.all() if one.version == model.version
            ]

    def _predicted_by(self, version: int, found: Trace) -> Iterator[Document]:
        """The results that a version made, newest first; those of an upload's newest attempt."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._results, Prefix=SUBMISSIONS
        )
        listed = sorted(
            (one for page in pages for one in page.get("Contents", [])),
            key=lambda one: one["LastModified"],
            reverse=True,
        )
        keys = [one["Key"] for one in listed]
        with ThreadPoolExecutor(8) as pool:
            for start in range(0, min(len(keys), MOST_READ), _AT_ONCE):
                part = keys[start : min(start + _AT_ONCE, MOST_READ)]
                for record in filter(None, pool.map(self._json, part)):
                    if record.get("model_package_version") == version:
                        yield self._result(record)
        if len(keys) > MOST_READ:
            found.missing.append(
                f"there are {len(keys):,} uploads, of which the newest {MOST_READ:,} were looked at"
            )

    def _result(self, record: Document) -> Document:
        prefix = record.get("results_prefix", "")
        manifest = self._json(f"{prefix}manifest.json") or {}
        return {
            "upload": record.get("upload_id", ""),
            "file": f"s3://{record.get('bucket')}/{record.get('key')}",
            "submitted_at": record.get("submitted_at", ""),
            "outcome": manifest.get("outcome", "no result yet"),
            "results": f"s3://{self._results}/{prefix}",
            **{name: manifest[name] for name in _COUNTS if name in manifest},
        }

    def _json(self, key: str) -> Document | None:
        """A JSON object among the results; None if there is none, or it is damaged."""
        try:
            body = self._s3.get_object(Bucket=self._results, Key=key)["Body"].read()
            document = json.loads(body)
        except (self._s3.exceptions.NoSuchKey, ValueError):
            return None
        return document if isinstance(document, dict) else None


def _parts(found: Lineage | None, decisions: list[str]) -> dict[str, Any]:
    """The lineage of a version in parts."""
    if found is None:
        return {name: {} for name in ("model", "execution", "data", "reports", "tracking")}
    model, execution = found.model, found.execution
    manifest = found.manifest.document() if found.manifest else {}
    started, ended = execution.get("CreationTime"), execution.get("LastModifiedTime")
    return {
        "model": {
            "version": model.version,
            "approval": ": ".join(filter(None, (model.approval, model.reason))),
            "decisions": decisions,
            "arn": model.arn,
            "artifact": model.artifact,
            "registered": model.created.isoformat(timespec="seconds"),
        },
        "execution": {
            "arn": found.execution_arn,
            "status": execution.get("PipelineExecutionStatus", ""),
            "started": started.isoformat(timespec="seconds") if started else "",
            "ended": ended.isoformat(timespec="seconds") if ended else "",
            "cause": found.noted("cause") or found.parameters.get("Cause", ""),
            "commit": found.noted("code_version"),
            "training_image": found.image,
            "steps": [one.document() for one in found.steps],
        },
        "data": {
            "manifest": found.manifest_uri,
            "version": manifest.get("version", ""),
            "made_at": manifest.get("made_at", ""),
            "train_data": found.noted("train_data"),
            "test_data": found.noted("test_data"),
            "train": list(manifest.get("train", [])),
            "test": list(manifest.get("test", [])),
        },
        "reports": {"validation": found.validation_uri, "evaluation": found.evaluation_uri},
        "tracking": found.tracking,
    }
