"""Where things lie in the buckets, and the name an upload has there.

    waiting/<id>.json                 an upload that waits for a model to be approved
    submissions/<id>.json             who predicts an upload: first a claim, then with the job
    results/<name>/<id>/              the predictions, the rejects and, last, `manifest.json`
    results/<name>/<id>/retry-<n>/    the same for attempt n >= 2
    shards/<id>/<attempt>/            what the children of an array job leave for its assembly
    notices/<id>/<attempt>-<outcome>.json   people have been told
    announced/<id>                    when the sweep last put the upload into the queue again
    sweeps/state.json                 where the next sweep goes on

and in the models bucket `serving/<model package group>.json`, the ceiling (`registry.py`).

`<id>` is the first 32 hexadecimal digits of

    sha256(bucket + "\\n" + key + "\\n" + version)        all UTF-8

where `version` is the object's version id or, in a bucket without versioning, its ETag without
quotes. Whoever has just put an object knows all three and can look up what became of it. The
formula is a contract: a client computes it too.
"""

from __future__ import annotations

import hashlib
import re

INCOMING = "incoming/"
WAITING = "waiting/"
SUBMISSIONS = "submissions/"
RESULTS = "results/"
NOTICES = "notices/"
ANNOUNCED = "announced/"
SWEEP_STATE = "sweeps/state.json"
MANIFEST = "manifest.json"

KEY_LIMIT = 1024  # bytes of UTF-8 in an S3 key
LONGEST_FILE = len("retry-9999/predictions.jsonl.gz")

_JOB_NAME = re.compile(r"predict-([0-9a-f]{32})(?:-([1-9][0-9]*))?")
_MANIFEST_KEY = re.compile(
    r"results/.*/([0-9a-f]{32})/(?:retry-([1-9][0-9]*)/)?manifest\.json", re.DOTALL
)
_RETRY = re.compile(r"retry-[1-9][0-9]*/\Z")


def upload_id(bucket: str, key: str, version: str) -> str:
    """The id of one version of an object: its version id or else its ETag, unquoted."""
    return hashlib.sha256(f"{bucket}\n{key}\n{version}".encode()).hexdigest()[:32]


def is_upload(key: str, size: int, incoming: str, suffixes: tuple[str, ...]) -> bool:
    """Whether an object is an upload to predict: below `incoming`, no folder that a console made,
    and with one of the suffixes if there are any."""
    return (
        key.startswith(incoming)
        and not (key.endswith("/") and size == 0)
        and (not suffixes or key.endswith(suffixes))
    )


def waiting_key(upload: str) -> str:
    """Where the marker of an upload lies while no model is approved."""
    return f"{WAITING}{upload}.json"


def submission_key(upload: str) -> str:
    """Where the record of an upload's job lies."""
    return f"{SUBMISSIONS}{upload}.json"


def announced_key(upload: str) -> str:
    """Where the sweep leaves that it has announced an upload."""
    return f"{ANNOUNCED}{upload}"


def notice_key(upload: str, attempt: int, outcome: str) -> str:
    """Where the marker lies once people were told of the outcome of an attempt."""
    return f"{NOTICES}{upload}/{attempt}-{outcome}.json"


def serving_key(group: str) -> str:
    """Where the ceiling of a model package group lies in the models bucket."""
    return f"serving/{group}.json"


def job_name(upload: str, attempt: int = 1) -> str:
    """The name of an attempt's Batch job: unique, so that a job can be found again by it."""
    return f"predict-{upload}" if attempt == 1 else f"predict-{upload}-{attempt}"


def parse_job_name(name: str) -> tuple[str, int] | None:
    """The upload and the attempt of a job of ours, None for any other."""
    match = _JOB_NAME.fullmatch(name)
    return (match[1], int(match[2] or 1)) if match else None


def results_prefix(key: str, upload: str, incoming: str = INCOMING) -> str:
    """Where the results of an upload's first attempt lie: its name without `incoming`, then its id.

    A name too long for the files below it is cut; the id keeps it unique.
    """
    room = KEY_LIMIT - len(f"{RESULTS}/{upload}/") - LONGEST_FILE
    name = key.removeprefix(incoming).encode()[:room].decode(errors="ignore")
    return f"{RESULTS}{name}/{upload}/"


def prefix_of_attempt(prefix: str, attempt: int) -> str:
    """Where the results of an attempt lie, given where those of any attempt do."""
    first = _RETRY.sub("", prefix)
    return first if attempt == 1 else f"{first}retry-{attempt}/"


def shards_prefix(upload: str, attempt: int) -> str:
    """Where the children of an array job leave their shares."""
    return f"shards/{upload}/{attempt}/"


def parse_manifest_key(key: str) -> tuple[str, int] | None:
    """The upload and the attempt of a manifest, None for any other object."""
    match = _MANIFEST_KEY.fullmatch(key)
    return (match[1], int(match[2] or 1)) if match else None
