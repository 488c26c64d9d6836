"""One job's work, once it is known that the upload is not settled: alone, or as one of several.

Both end with the manifest, which the caller writes, or with None: another job settled the upload in
the meantime, or other shares of it are still to come.
"""

from __future__ import annotations

import io
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from batch import assembly, manifest
from batch.manifest import REJECTS, Manifest
from batch.model import PinnedModel
from batch.objects import InputObject
from batch.outputs import predictions_name, rejects_writer
from batch.parts import WHOLE, Part
from batch.passes import WritesRejects, predict_table
from batch.report import render
from batch.settings import JobSettings
from batch.shares import Share, ShareRejectsWriter, Shares
from batch.tables import Table, open_table
from batch.tally import Tally

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

SHARE_REJECTS = "rejects.jsonl"


@dataclass
class Job:
    """What a job works with; `started` in seconds since 1970."""

    settings: JobSettings
    s3: S3Client
    model: PinnedModel
    folder: Path
    started: float

    def alone(self) -> Manifest | None:
        """Predicts the whole upload."""
        table = self._table(WHOLE)
        with rejects_writer(self.folder / REJECTS, self.settings.neutralise) as rejects:
            tally = self._predict(table, rejects)
        if self._settled():
            return None
        name = predictions_name(table)
        self._upload(name)
        self._upload(REJECTS)
        return self._reported(tally, predictions=name, bytes_in=self._source.size)

    def shared(self) -> Manifest | None:
        """Predicts this child's share; assembles the results if all shares are there."""
        shares, settings = self._shares, self.settings
        self._share(settings.aws_batch_job_array_index)
        found = None if self._settled() else shares.all()
        if found is None:
            return None
        chain = assembly.chained(found, self._share)
        assembly.write_rejects(shares, chain, self.folder / REJECTS, settings.neutralise)
        name = chain[0].name
        assembly.join(self.s3, settings.results_bucket, chain, settings.results_prefix + name)
        self._upload(REJECTS)
        self.started = min(share.started for share in chain)
        return self._reported(assembly.merged(chain), predictions=name, bytes_in=chain[-1].end)

    def tidy(self) -> None:
        """Deletes what the children of an array left for each other, as far as that succeeds.

        A duplicate of a child that is at work still commits its share after this: nobody reads
        that, and the lifecycle rule of the bucket deletes it.
        """
        with suppress(BotoCoreError, ClientError):
            self._shares.delete()

    def manifest(
        self, tally: Tally, *, reason: str = "", predictions: str = "", bytes_in: int = 0
    ) -> Manifest:
        """The manifest of an upload that could not be predicted, for a `reason`, or was."""
        settings, package = self.settings, self.model.package
        return Manifest(
            **manifest.told(tally, self.model.info, reason, predictions, settings.results_prefix),
            upload_id=settings.upload_id,
            bucket=settings.input_bucket,
            key=settings.input_key,
            version=settings.input_version,
            etag=settings.input_etag,
            model_package_arn=settings.model_package_arn,
            model_package_version=package.version,
            approval_status=package.approval_status,
            artifact_sha256=self.model.sha256,
            shards=settings.shards,
            bytes_in=bytes_in,
            seconds=round(max(time.time() - self.started, 0.001), 3),
            code_version=settings.claimflow_code_version,
            job_id=settings.job_id,
        )

    @cached_property
    def _source(self) -> InputObject:
        settings = self.settings
        return InputObject(
            self.s3,
            settings.input_bucket,
            settings.input_key,
            settings.input_version,
            settings.input_etag,
        )

    @cached_property
    def _stream(self) -> io.BufferedReader:
        return self._source.buffered()

    @cached_property
    def _shares(self) -> Shares:
        settings = self.settings
        return Shares(self.s3, settings.results_bucket, settings.shards_prefix, settings.shards)

    def _share(self, index: int, begin: int | None = None) -> Share:
        """The share that counts, predicted now if there is none; with `begin`, from there."""
        if (share := self._shares.find(index, begin)) is not None:
            return share
        table = self._table(Part.of(index, self.settings.shards, self._source.size, begin))
        path = self.folder / SHARE_REJECTS
        with path.open("w", encoding="utf-8") as file:
            tally = self._predict(table, ShareRejectsWriter(file))
        name = predictions_name(table)
        return self._shares.commit(
            Share(
                index=index,
                begin=table.extent.begin,
                end=table.extent.end,
                lines=table.extent.lines,
                name=name,
                folder="",
                size=0,
                started=self.started,
                tally=tally.to_json(),
            ),
            self.folder / name,
            path,
            begin,
        )

    def _table(self, part: Part) -> Table:
        column = self.settings.text_column or self.model.load().text_column
        self._stream.seek(0)
        return open_table(self._stream, self.settings.input_name, column, part)

    def _predict(self, table: Table, rejects: WritesRejects) -> Tally:
        return predict_table(
            table,
            self.model.load(),
            self.model.package.version,
            self.folder,
            rejects,
            self.settings.neutralise,
        )

    def _reported(self, tally: Tally, *, predictions: str, bytes_in: int) -> Manifest:
        """The manifest, its report written."""
        info = self.model.load().info
        document = self.manifest(tally, predictions=predictions, bytes_in=bytes_in)
        page = render(document, tally, self.model.quality(), info)
        self.s3.put_object(
            Bucket=self.settings.results_bucket,
            Key=document.report,
            Body=page.encode(),
            ContentType="text/html; charset=utf-8",
        )
        return document

    def _settled(self) -> bool:
        settings = self.settings
        return manifest.read(self.s3, settings.results_bucket, settings.results_prefix) is not None

    def _upload(self, name: str) -> None:
        settings = self.settings
        path = str(self.folder / name)
        self.s3.upload_file(path, settings.results_bucket, settings.results_prefix + name)
