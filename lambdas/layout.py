"""Where things lie in the results bucket, and the name an upload has there.

    waiting/<id>.json       an upload that waits for a model to be approved
    submissions/<id>.json   who predicts an upload: first a claim, then completed with the job
    results/<name>/<id>/    the predictions, the rejects and, last, `manifest.json`

`<id>` is the first 32 hexadecimal digits of

    sha256(bucket + "\\n" + key + "\\n" + version)        all UTF-8

where `version` is the object's version id or, in a bucket without versioning, its ETag without
quotes. Whoever has just put an object knows all three and can look up what became of it. The
formula is a contract: a client computes it too.
"""

from __future__ import annotations

import hashlib

INCOMING = "incoming/"
WAITING = "waiting/"
SUBMISSIONS = "submissions/"
RESULTS = "results/"
MANIFEST = "manifest.json"

KEY_LIMIT = 1024  # bytes of UTF-8 in an S3 key
LONGEST_FILE = len("predictions.jsonl.gz")


def upload_id(bucket: str, key: str, version: str) -> str:
    """The id of one version of one object: its version id or else its ETag, unquoted."""
    return hashlib.sha256(f"{bucket}\n{key}\n{version}".encode()).hexdigest()[:32]


def waiting_key(upload: str) -> str:
    """Where the marker of an upload lies while no model is approved."""
    return f"{WAITING}{upload}.json"


def submission_key(upload: str) -> str:
    """Where the record of an upload's job lies."""
    return f"{SUBMISSIONS}{upload}.json"


def job_name(upload: str) -> str:
    """The name of an upload's Batch job: unique, so that a job can be found again by it."""
    return f"predict-{upload}"


def results_prefix(key: str, upload: str, incoming: str = INCOMING) -> str:
    """Where the results of an upload lie: its name without `incoming`, then its id.

    A name too long for the files below it is cut; the id keeps it unique.
    """
    room = KEY_LIMIT - len(f"{RESULTS}/{upload}/") - LONGEST_FILE
    name = key.removeprefix(incoming).encode()[:room].decode(errors="ignore")
    return f"{RESULTS}{name}/{upload}/"
