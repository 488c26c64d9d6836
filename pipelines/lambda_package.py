"""The zip of the Lambda functions: the same source gives the same bytes."""

from __future__ import annotations

import io
import zipfile

from pipelines.images import ROOT

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


def zip_lambdas() -> bytes:
    """`lambdas/` as it stands, without what is only for people."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((ROOT / "lambdas").rglob("*.py")):
            member = zipfile.ZipInfo(path.relative_to(ROOT).as_posix(), EPOCH)
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, path.read_bytes())
    return content.getvalue()
