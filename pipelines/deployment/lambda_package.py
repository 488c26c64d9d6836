"""The zip of the Lambda functions: the same source gives the same bytes."""

from __future__ import annotations

import hashlib
import io
import zipfile

from pipelines.images import ROOT

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold
UNIX = 3  # the system that a member's permissions are of


def zip_lambdas() -> bytes:
    """`lambdas/` as it stands, without what is only for people.

    Not compressed: what comes out of zlib differs from one build of it to the next.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted((ROOT / "lambdas").rglob("*.py")):
            member = zipfile.ZipInfo(path.relative_to(ROOT).as_posix(), EPOCH)
            member.create_system = UNIX
            member.external_attr = 0o644 << 16
            archive.writestr(member, path.read_bytes())
    return content.getvalue()


def code_key() -> str:
    """Where the zip lies in the bucket for data: under a digest of its content."""
    return f"code/lambdas-{hashlib.sha256(zip_lambdas()).hexdigest()}.zip"
