"""The labelled claims in the data bucket: what lies in `labelled/`, and the versions of it.

A version is what one moment's training reads. It is made by the function `retrain` alone, and never
changes (`lambdas/datasets.py`): here they are only read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from pipelines.aws import Aws
from pipelines.data.labelled_file import LocalFile, examine
from pipelines.data.versions import SETS, LabelledFile, Manifest, Set, parsed
from pipelines.errors import UserError
from pipelines.transfers import Progress, untold, upload

LABELLED, VERSIONS = "labelled/", "versions/"

_SHORT_SUM = 16  # hexadecimal digits in a file's name
_ADDED = re.compile(rf"\d{{8}}T\d{{12}}Z-([0-9a-f]{{{_SHORT_SUM}}})-")
_SUM = re.compile(r"[0-9a-f]{4,64}")  # or its beginning: shorter ones would be guesses
_VERSION = re.compile(rf"{VERSIONS}([0-9a-f]{{16}})/")


@dataclass(frozen=True)
class Added:
    """A file that was to be added, and where it lies now; not `is_new` if it lay there already."""

    file: LocalFile
    key: str
    is_new: bool


@dataclass(frozen=True)
class Addition:
    """What `Datasets.add` has done."""

    files: tuple[Added, ...]
    replaced: tuple[str, ...]  # keys of the test set that was there before

    @property
    def keys(self) -> list[str]:
        return [one.key for one in self.files]

    @property
    def is_change(self) -> bool:
        return bool(self.replaced) or any(one.is_new for one in self.files)


class Datasets:
    """The labelled claims of one deployment."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._s3 = aws.client("s3")

    def add(
        self,
        paths: Sequence[Path],
        test: bool = False,
        replace: bool = False,
        progress: Progress = untold,
    ) -> Addition:
        """Uploads files of labelled claims, in this order, after a look at all of them; with `test`
        they are the held-out test set. What lies there already is not uploaded again.

        Raises
        ------
        UserError
            A file is unfit, or is in the other set; or there is a test set and not `replace`.
        """
        given = self._aws.given
        files = [examine(path, given.text_column, given.label_column) for path in paths]
        name: Set = "test" if test else "train"
        there = self.labelled()
        sums = self._sums(there)
        for file in files:
            self._check_other_set(file, name, there, sums)
        known = {sums[one.key]: one.key for one in there if one.set == name and one.key in sums}
        before = [one.key for one in there if one.set == name]
        is_new_set = test and before and not all(_short(file.sha256) in known for file in files)
        if is_new_set and not replace:
            raise UserError(
                f"There is a held-out test set already in s3://{self._bucket}/{LABELLED}test/: it "
                "stays the same so that models can be compared; --replace puts this one in its "
                "place"
            )
        added: list[Added] = []
        for file in files:
            key = known.get(_short(file.sha256))
            if is_new := key is None:
                key = known[_short(file.sha256)] = self._new_key(file, name, len(added))
                upload(self._s3, file.path, self._bucket, key, progress)
            added.append(Added(file, key, is_new))
        replaced = sorted(set(before) - {one.key for one in added}) if test and replace else []
        for old in replaced:
            self._s3.delete_object(Bucket=self._bucket, Key=old)
        return Addition(tuple(added), tuple(replaced))

    def remove(self, names: Sequence[str]) -> list[LabelledFile]:
        """Takes files out of `labelled/`, each by its key or address, by its name (also the one
        that it had before it was added), or by the beginning of its SHA-256. The bucket keeps them
        as old versions, and the data versions their own copies.

        Raises
        ------
        UserError
            A name means no file, or more than one; then nothing is taken out.
        """
        there = self.labelled()
        sums = self._sums(there)
        found = list(dict.fromkeys(self._named(name, there, sums) for name in names))
        for one in found:
            self._s3.delete_object(Bucket=self._bucket, Key=one.key)
        return found

    def labelled(self) -> list[LabelledFile]:
        """What lies in `labelled/` now, each set in the order in which it is merged."""
        found = [
            LabelledFile(name, one["Key"], one["ETag"].strip('"'), one["Size"], one["LastModified"])
            for name in SETS
            for one in self._listed(f"{LABELLED}{name}/")
            if not one["Key"].endswith("/")  # a folder that a console made
        ]
        return sorted(found, key=lambda one: (SETS.index(one.set), one.added_at, one.key))

    def versions(self) -> list[Manifest]:
        """The versions, newest first; one that is still being made is not among them."""
        with ThreadPoolExecutor(16) as pool:
            found = filter(None, pool.map(self._manifest, self._version_ids("")))
            return sorted(found, key=lambda one: (one.made_at, one.version), reverse=True)

    def version(self, name: str) -> Manifest:
        """A version by its id, or by the beginning of it.

        Raises
        ------
        UserError
            There is no such version, or more than one.
        """
        ids = self._version_ids(name) if re.fullmatch(r"[0-9a-f]{1,16}", name) else []
        found = [manifest for one in ids if (manifest := self._manifest(one))]
        if len(found) > 1:
            raise UserError(f"The ids of {len(found)} data versions begin with {name}: give more")
        if not found:
            raise UserError(
                f"There is no data version {name}; `claimflow data show` shows the newest"
            )
        return found[0]

    def manifest_address(self, version: str) -> str:
        return f"s3://{self._bucket}/{VERSIONS}{version}/manifest.json"

    @property
    def _bucket(self) -> str:
        return self._aws.settings.bucket("data")

    def _listed(self, prefix: str) -> Iterator[dict[str, Any]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        )
        return (one for page in pages for one in page.get("Contents", []))

    def _version_ids(self, beginning: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=VERSIONS + beginning, Delimiter="/"
        )
        folders = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])]
        return [match[1] for one in folders if (match := _VERSION.fullmatch(one))]

    def _manifest(self, version: str) -> Manifest | None:
        """A version's manifest, None if it is not complete."""
        key = f"{VERSIONS}{version}/manifest.json"
        try:
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return None
        return parsed(body, self.manifest_address(version))

    def _sums(self, there: Sequence[LabelledFile]) -> dict[str, str]:
        """The short sums of the files whose content is known, by key: a file that was added tells
        it in its name, any other is known once it is in a version."""
        pinned = {
            (one.key, one.etag): one.sha256
            for version in self.versions()[:1]
            for one in version.train + version.test
        }
        sums = {}
        for one in there:
            if sha256 := pinned.get((one.key, one.etag)):
                sums[one.key] = _short(sha256)
            elif match := _ADDED.match(one.key.rpartition("/")[2]):
                sums[one.key] = match[1]
        return sums

    def _named(
        self, name: str, there: Sequence[LabelledFile], sums: dict[str, str]
    ) -> LabelledFile:
        key = name.removeprefix(f"s3://{self._bucket}/")
        spellings = {name} if "/" in name else {name, _safe(name)}
        found = [one for one in there if one.key == key] or [
            one
            for one in there
            if spellings & _names(one.key)
            or (_SUM.fullmatch(name) and sums.get(one.key, "").startswith(_short(name)))
        ]
        if len(found) > 1:
            raise UserError(
                f"{name} means {len(found)} files, {', '.join(one.key for one in found[:5])}"
                f"{', …' if len(found) > 5 else ''}: give the key of one"
            )
        if not found:
            raise UserError(
                f"There is no file {name} in s3://{self._bucket}/{LABELLED}; "
                "`claimflow data show` tells which there are"
            )
        return found[0]

    def _check_other_set(
        self, file: LocalFile, name: Set, there: Sequence[LabelledFile], sums: dict[str, str]
    ) -> None:
        for one in there:
            if one.set != name and sums.get(one.key) == _short(file.sha256):
                raise UserError(
                    f"{file.path}: the same file is in s3://{self._bucket}/{one.key}; expected "
                    "other claims to train with than to test with"
                )

    def _new_key(self, file: LocalFile, name: Set, place: int) -> str:
        """A key of its own, by which files that S3 gets in the same second keep their order."""
        now = datetime.now(timezone.utc) + timedelta(microseconds=place)
        stamp = f"{now:%Y%m%dT%H%M%S%fZ}-{_short(file.sha256)}"
        return f"{LABELLED}{name}/{stamp}-{_safe(file.path.name)}"


def _short(sha256: str) -> str:
    return sha256[:_SHORT_SUM]


def _safe(name: str) -> str:
    """A file's name without what S3 would have to escape."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def _names(key: str) -> set[str]:
    """A file's name in the bucket, and the one that it had before it was added."""
    name = key.rpartition("/")[2]
    return {name, _ADDED.sub("", name, count=1)}
