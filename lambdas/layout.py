"""Where things lie in the buckets, and the name an upload has there.

    waiting/<id>.json                 an upload that waits for a model to be approved
    submissions/<id>.json             who predicts an upload: first a claim, then with the job
    results/<name>/<id>/              the predictions, the rejects and, last, `manifest.json`
    results/<name>/<id>/retry-<n>/    the same for attempt n >= 2
    shards/<id>/<attempt>/            what the children of an array job leave for its assembly
    notices/<id>/<attempt>-<outcome>.json   people have been told
    announced/<id>                    when the sweep last put the upload into the queue again
    sweeps/state.json                 where the next sweep goes on

in the models bucket

    serving/<group>.json              the ceiling of a model package group (`registry.py`)
    decisions/<group>/<time>-<8 hex>.json   what was decided about a version (`decisions.py`)

and in the data bucket

    labelled/train/, labelled/test/   labelled claims, as they are added
    versions/<version>/train/, test/  copies of the files of a data version, in order
    versions/<version>/plan.json      which copies those are, before they are made
    versions/<version>/manifest.json  the same, last: the version is complete
    versions/files/<sum>.json         what was counted of a labelled file

`<id>` is the first 32 hexadecimal digits of

    sha256(bucket + "\\n" + key + "\\n" + version)        all UTF-8

where `version` is the object's version id or, in a bucket without versioning, its ETag without
quotes. Whoever has just put an object knows all three and can look up what became of it. The
formula is a contract: a client computes it too.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

INCOMING = "incoming/"
WAITING = "waiting/"
SUBMISSIONS = "submissions/"
RESULTS = "results/"
NOTICES = "notices/"
ANNOUNCED = "announced/"
SWEEP_STATE = "sweeps/state.json"
MANIFEST = "manifest.json"

LABELLED = "labelled/"
VERSIONS = "versions/"
TRAIN, TEST = SETS = ("train", "test")

KEY_LIMIT = 1024  # bytes of UTF-8 in an S3 key
LONGEST_NAME = 200  # characters: a container's file system takes 255 bytes
LONGEST_FILE = len("retry-9999/predictions.jsonl.gz")

_JOB_NAME = re.compile(r"predict-([0-9a-f]{32})(?:-([1-9][0-9]*))?")
_MANIFEST_KEY = re.compile(
    r"results/.*/([0-9a-f]{32})/(?:retry-([1-9][0-9]*)/)?manifest\.json", re.DOTALL
)
_VERSION = re.compile(r"versions/([0-9a-f]{16})/")
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


def decision_key(group: str, time: datetime, name: str) -> str:
    """Where a decision is recorded; `name` are 8 hexadecimal digits that make it unique."""
    return f"decisions/{group}/{time:%Y%m%dT%H%M%S%fZ}-{name}.json"


def labelled_set(key: str) -> str | None:
    """Whether a labelled file is to train or to test with; None for any other object."""
    for name in SETS:
        if key.startswith(f"{LABELLED}{name}/") and not key.endswith("/"):  # a console's folder
            return name
    return None


def counted_key(key: str, version: str) -> str:
    """Where it lies what was counted of a labelled file: of its version id, or else its ETag."""
    digest = hashlib.sha256(f"{key}\n{version}".encode()).hexdigest()
    return f"{VERSIONS}files/{digest[:32]}.json"


def version_prefix(version: str) -> str:
    """Below it lies all of a data version."""
    return f"{VERSIONS}{version}/"


def copy_key(version: str, name: str, number: int, key: str) -> str:
    """Where the copy of a labelled file lies in a data version: its set, its place, its name."""
    last = re.sub(r"[^A-Za-z0-9._-]", "_", key.rpartition("/")[2])[:LONGEST_NAME]
    return f"{version_prefix(version)}{name}/{number:04d}-{last}"


def parse_version(uri: str, bucket: str) -> str | None:
    """The data version that an address in the data bucket is of."""
    match = _VERSION.match(uri.removeprefix(f"s3://{bucket}/"))
    return match[1] if match else None


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
