"""What people are told: plain words, for those who do not program.

Names of files are strangers' data and go on one line; no text of a claim is ever here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lambdas.messages import one_line

LONGEST_SUBJECT = 99  # SNS: ASCII, without line breaks or control characters, under 100 characters
LONGEST_NAME = 200  # characters
LONGEST_REASON = 1000
CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}


@dataclass(frozen=True)
class Notice:
    """One message: `subject` fits SNS, `text` is UTF-8 of a few kilobytes at most."""

    subject: str
    text: str


@dataclass(frozen=True)
class Place:
    """Where the results lie, and in whose console they can be seen; the local cloud has none."""

    partition: str
    region: str
    bucket: str
    has_console: bool = True

    @classmethod
    def of_topic(cls, topic_arn: str, bucket: str, has_console: bool = True) -> Place:
        """Region and partition as the topic's ARN has them."""
        _, partition, _, region, *_ = topic_arn.split(":")
        return cls(partition, region, bucket, has_console)

    def file(self, key: str) -> str:
        """An object: the console's page, and the address below it."""
        page = f"s3/object/{self.bucket}?region={self.region}&prefix={quote(key, safe='/')}"
        return self._link(page, self._address(key))

    def folder(self, prefix: str) -> str:
        """All that lies below a prefix."""
        page = f"s3/buckets/{self.bucket}?region={self.region}&prefix={quote(prefix, safe='/')}"
        return self._link(page, self._address(prefix))

    def job(self, job_id: str) -> str:
        """A job: Batch's page, and its number."""
        page = f"batch/home?region={self.region}#jobs/detail/{quote(job_id)}"
        return self._link(page, one_line(job_id, LONGEST_NAME))

    def _link(self, page: str, address: str) -> str:
        return f"{self._console}/{page}\n  {address}" if self.has_console else address

    def _address(self, key: str) -> str:
        return f"s3://{self.bucket}/{one_line(key, 1024)}"

    @property
    def _console(self) -> str:
        return f"https://{self.region}.{CONSOLES.get(self.partition, CONSOLES['aws'])}"


def classified(manifest: dict[str, Any], prefix: str, place: Place) -> Notice:
    """The file was predicted."""
    name = file_name(manifest["key"])
    rejected = int(manifest["rejected"])
    counts = {
        "rows in the file": int(manifest["rows_in"]),
        "classified": int(manifest["predicted"]),
        "of these for a person to look at": int(manifest["for_review"]),
        "rejected, because they could not be read": rejected,
    }
    width = max(len(f"{count:,}") for count in counts.values())
    lines = [f'The file "{name}" has been classified.', ""]
    lines += [f"  {count:>{width},} {what}" for what, count in counts.items()]
    files = {
        "The report, to read first": manifest.get("report"),
        "The classified rows": manifest["predictions"],
        "The rejected rows, each with its line and the reason": rejected and manifest["rejects"],
    }
    for what, key in files.items():
        if key:
            lines += ["", f"{what}:", f"  {place.file(str(key))}"]
    lines += ["", "Everything about this file:", f"  {place.folder(prefix)}"]
    return Notice(_subject("Classified", name), _text(lines, manifest))


def unreadable(manifest: dict[str, Any], prefix: str, place: Place) -> Notice:
    """The file as a whole could not be predicted: it is for its sender to mend."""
    name = file_name(manifest["key"])
    lines = [
        f'The file "{name}" could not be classified. Nothing in it has been classified.',
        "",
        "Why:",
        f"  {one_line(str(manifest['reason']), LONGEST_REASON)}",
        "",
        "What to do:",
        "  If the file is at fault, correct it and upload it again, under any name.",
        "  If it is not, pass this message on to those who look after claimflow; they can have it",
        f"  tried again with: claimflow predictions retry {manifest['upload_id']}",
        "",
        "The record of this:",
        f"  {place.folder(prefix)}",
    ]
    return Notice(_subject("Not classified", name), _text(lines, manifest))


def job_failed(key: str, upload_id: str, job_id: str, reason: str, place: Place) -> Notice:
    """The job ended without saying anything about the file."""
    name = file_name(key)
    lines = [
        f'The file "{name}" has not been classified yet: the job that reads it failed.',
        "",
        "Why:",
        f"  {one_line(reason, LONGEST_REASON) or 'AWS Batch gave no reason'}",
        "",
        "What to do:",
        "  The file is kept, and it need not be at fault. Pass this message on to those who look",
        "  after claimflow; once the cause is mended they have it tried again with:",
        f"  claimflow predictions retry {upload_id}",
        "",
        "The job and its log:",
        f"  {place.job(job_id)}",
    ]
    return Notice(_subject("Not classified yet", name), _text(lines, {"upload_id": upload_id}))


def fresh_labels_needed(alarm: str, bucket: str) -> Notice:
    """The claims have drifted away from the training data, and there is no newer training data."""
    lines = [
        "The claims of these days are no longer like those that the model learnt from. Nothing has",
        "been labelled since it was trained: to train it once more would give the same model.",
        "",
        "What to do:",
        "  Have some hundred of the newest claims labelled by people, and add the file with:",
        "  claimflow data add FILE",
        f"  or put it into s3://{bucket}/labelled/train/",
        "",
        "What noticed it:",
        f"  {one_line(alarm, LONGEST_NAME)}",
        "",
    ]
    return Notice("Fresh labels are needed", "\n".join(lines))


def not_trained(reason: str) -> Notice:
    """Something asked for a training, which lacks something that people can give it."""
    lines = [
        "New labelled claims or a drift asked for a training. It was not started.",
        "",
        "Why, and what to do:",
        f"  {one_line(reason, LONGEST_REASON)}",
        "",
    ]
    return Notice("No training was started", "\n".join(lines))


def file_name(key: str) -> str:
    """The last part of a key, on one line."""
    return one_line(key.rstrip("/").rpartition("/")[2], LONGEST_NAME) or "(a name of blanks)"


def _subject(what: str, name: str) -> str:
    ascii_name = name.encode("ascii", "replace").decode()
    return one_line(f"{what}: {ascii_name}", 10 * LONGEST_SUBJECT)[:LONGEST_SUBJECT]


def _text(lines: list[str], about: dict[str, Any]) -> str:
    version = about.get("model_package_version")
    if version:
        lines = [*lines, "", f"Model: version {version}"]
    return "\n".join([*lines, "", f"Number of this upload: {about['upload_id']}", ""])
